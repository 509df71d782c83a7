"""A program in the simulator's place: holds its port."""

import argparse
import socket

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
with socket.create_server(("127.0.0.1", parser.parse_args().port)) as listener:
    while True:
        listener.accept()[0].close()
