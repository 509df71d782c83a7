"""The only door to litellm: sets what it reads at import, imports it, and makes it quiet.

Everything of the agent that needs litellm imports it from here, so that no order of imports can make its import ask
the network for a price table, cap the connections to a provider, or write banners to the terminal.
"""

import contextlib
import importlib
import logging
import os
import warnings

from pydantic import PydanticDeprecationWarning

from core_config import keep_loopback_off_proxies

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches the price table
# Calls OpenAI-shaped servers as all others, over the client that is passed in, without the OpenAI SDK: two thirds of
# the time, and one shape of errors for every provider.
os.environ["EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER"] = "true"
# 500 to a host by default, and the rest waits without a word.
os.environ.setdefault("AIOHTTP_CONNECTOR_LIMIT", "20000")
os.environ.setdefault("AIOHTTP_CONNECTOR_LIMIT_PER_HOST", "20000")
keep_loopback_off_proxies()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about litellm's own code, which nobody here can mend
    import litellm
    from langchain_litellm import ChatLiteLLM
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    # What the first call would else do for a second and more, in the event loop's time: better at start. Where a
    # release moves the module, only that is lost.
    litellm.ModelResponse()
    litellm.stream_chunk_builder(
        [litellm.ModelResponseStream(choices=[{"index": 0, "delta": {"content": "a"}}], usage={"total_tokens": 2})]
    )
    with contextlib.suppress(ImportError):
        importlib.import_module("litellm.responses.mcp.chat_completions_handler")

# Of each event of a stream it asks for every attribute there is, also those that pydantic warns of.
warnings.filterwarnings("ignore", category=PydanticDeprecationWarning, module=r"litellm\.")

litellm.telemetry = False
litellm.suppress_debug_info = True  # "Give Feedback / Get Help" on every error
litellm.disable_aiohttp_trust_env = True  # agent.transport chooses the proxy

for _name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
    _logger = logging.getLogger(_name)
    _logger.handlers.clear()  # its own, which write to the terminal
    _logger.setLevel(logging.CRITICAL)  # every error it logs also reaches us as an exception

__all__ = ["AsyncHTTPHandler", "ChatLiteLLM", "litellm"]
