"""The official Python SDK as a streamable HTTP server, on the port that is asked for."""

import sys

from mcp.server import MCPServer

server = MCPServer("foreign")


@server.tool()
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right


@server.tool()
def refuse() -> str:
    """Never works."""
    raise ValueError("never")


server.run("streamable-http", port=int(sys.argv[1]))
