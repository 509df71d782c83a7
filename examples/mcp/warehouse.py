"""A small MCP server: what is in stock in a warehouse. An example, and what Longhaul's tests talk to.

python examples/mcp/warehouse.py                    over stdin and stdout
python examples/mcp/warehouse.py --http 8020        at http://127.0.0.1:8020/mcp
"""

import argparse
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

STOCK = {"green tea": 41, "oolong": 0, "teapot": 7}

server = MCPServer("warehouse", log_level="WARNING")


@server.tool()
def stock(product: Annotated[str, Field(description="Its name, such as green tea.")]) -> str:
    """Tell how many pieces of a product are in stock."""
    if product not in STOCK:
        raise ToolError(f"There is no product {product!r}. There are: {', '.join(STOCK)}.")
    return f"{product}: {STOCK[product]} in stock"


@server.tool()
def sold_out() -> list[str]:
    """List the products that are sold out."""
    return [product for product, count in STOCK.items() if count == 0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve HTTP on this port of loopback")
    port = parser.parse_args().http
    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)
