"""The official SDKs as judges of our wire formats. One JSON object per line, both ways.

`peer.py requests`: each line {"kind", "name", "body"} is a request's body; the answer
is {"name", "complaint"}, null when the SDK's types allow it.

`peer.py answers URL`: each line {"kind", "name"} makes the SDK's client ask the server
at URL and read its stream; the answer is {"name", "text", "thinking", "calls", "stop",
"usage"}, or {"name", "complaint"}.
"""

import importlib.metadata
import json
import pathlib
import sys


def check_versions():
    wanted = pathlib.Path(__file__).with_name("requirements.txt").read_text().split()
    for line in wanted:
        name, separator, version = line.partition("==")
        if not separator:
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"no {name}")
        if found != version:
            sys.exit(f"{name} is {found}, wanted is {version}")


def adapters():
    from anthropic.types.message_create_params import MessageCreateParamsStreaming as anthropic
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming as chat
    from openai.types.responses.response_create_params import (
        ResponseCreateParamsStreaming as responses,
    )

    from strict import Strict

    strict = Strict()
    return {
        "anthropic": strict.adapter(anthropic),
        "openai": strict.adapter(chat),
        "openai-responses": strict.adapter(responses),
    }


def judge(adapter, body):
    from pydantic import ValidationError

    try:
        adapter.validate_python(body)
    except ValidationError as error:
        def place(found):
            # Names of unions are lists of all their members.
            return ".".join(str(part) for part in found["loc"] if "[" not in str(part))

        return "; ".join(f"{place(found)}: {found['msg']}" for found in error.errors()[:8])
    return None


MESSAGES = [{"role": "user", "content": "hello"}]


def ask_anthropic(url):
    import anthropic

    client = anthropic.Anthropic(
        api_key="none", base_url=url, max_retries=0, _strict_response_validation=True
    )
    with client.messages.stream(model="m", max_tokens=100, messages=MESSAGES) as stream:
        message = stream.get_final_message()
    usage = message.usage
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "thinking": "".join(
            block.thinking for block in message.content if block.type == "thinking"
        ),
        "calls": [
            [block.id, block.name, block.input]
            for block in message.content
            if block.type == "tool_use"
        ],
        "stop": message.stop_reason,
        "usage": [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens or 0,
            usage.cache_creation_input_tokens or 0,
        ],
    }


def ask_chat(url):
    import openai

    client = openai.OpenAI(
        api_key="none", base_url=url, max_retries=0, _strict_response_validation=True
    )
    with client.chat.completions.stream(
        model="m", messages=MESSAGES, stream_options={"include_usage": True}
    ) as stream:
        try:
            completion = stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:
            # It refuses to parse a cut answer, but has read it.
            completion = cut.completion
    [choice] = completion.choices
    usage = completion.usage
    cached = usage.prompt_tokens_details.cached_tokens or 0
    return {
        "text": choice.message.content or "",
        "thinking": "",
        "calls": [
            [call.id, call.function.name, json.loads(call.function.arguments or "{}")]
            for call in choice.message.tool_calls or []
        ],
        "stop": choice.finish_reason,
        "usage": [usage.prompt_tokens - cached, usage.completion_tokens, cached, 0],
    }


def ask_responses(url):
    import openai

    client = openai.OpenAI(
        api_key="none", base_url=url, max_retries=0, _strict_response_validation=True
    )
    with client.responses.stream(model="m", input="hello") as stream:
        # The helper for the last event knows only one of the two good ends.
        ends = ("response.completed", "response.incomplete")
        [response] = [event.response for event in stream if event.type in ends]
    usage = response.usage
    cached = usage.input_tokens_details.cached_tokens
    written = usage.input_tokens_details.cache_write_tokens
    return {
        "text": response.output_text,
        "thinking": "".join(
            part.text
            for item in response.output
            if item.type == "reasoning"
            for part in item.summary
        ),
        "calls": [
            [item.call_id, item.name, json.loads(item.arguments or "{}")]
            for item in response.output
            if item.type == "function_call"
        ],
        "stop": response.status,
        "usage": [usage.input_tokens - cached - written, usage.output_tokens, cached, written],
    }


def main():
    check_versions()
    lines = (json.loads(line) for line in sys.stdin if line.strip())
    if sys.argv[1] == "requests":
        judges = adapters()
        for line in lines:
            complaint = judge(judges[line["kind"]], line["body"])
            print(json.dumps({"name": line["name"], "complaint": complaint}))
        return
    clients = {
        "anthropic": (ask_anthropic, ""),
        "openai": (ask_chat, "/v1"),
        "openai-responses": (ask_responses, "/v1"),
    }
    for line in lines:
        ask, path = clients[line["kind"]]
        try:
            answer = ask(sys.argv[2] + path)
        except Exception as error:  # Whatever it is, it is a complaint.
            answer = {"complaint": f"{type(error).__name__}: {error}"}
        print(json.dumps({"name": line["name"], **answer}))


main()
