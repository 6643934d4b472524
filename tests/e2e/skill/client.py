"""The official client of the protocol reports an issue with the tools of `selfheal mcp`.

It checks every message against the protocol's types, and each call against the tool's schema.
"""

import asyncio
import json
import os
import sys

import jsonschema
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client

REPORT = json.loads(sys.argv[2])
asked = []


async def person(context, params):
    asked.append(params.message)
    return types.ElicitResult(action="accept", content={"yes": True})


async def main():
    names = ("SELFHEAL_URL", "SELFHEAL_TOKEN")
    server = StdioServerParameters(
        command=sys.argv[1], args=["mcp"], env={name: os.environ[name] for name in names}
    )
    async with stdio_client(server) as (reading, writing):
        async with ClientSession(reading, writing, elicitation_callback=person) as session:
            hello = await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}

            async def call(name, arguments):
                jsonschema.validate(arguments, tools[name].input_schema)
                result = await session.call_tool(name, arguments)
                return result.is_error, result.content[0].text

            _, shown = await call("show_report", REPORT)
            code = shown.rsplit("Code of this report: ", 1)[1].strip()
            refused, sent = await call("send_report", {**REPORT, "code": code})
            _, followed = await call("follow_issue", {"number": 1})
            print(json.dumps({
                "version": hello.protocol_version,
                "tools": sorted(tools),
                "asked": asked,
                "refused": bool(refused),
                "sent": sent,
                "followed": followed,
            }))


asyncio.run(main())
