"""Asks a server by OpenAI's package for Python.

stdin: {url, key, picture, question}; stdout: what came of each request, as ../clients.test.ts expects it.
"""

import json
import re
import sys
import time
import urllib.request

import openai

asked = json.load(sys.stdin)
url, key = asked["url"], asked["key"]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
content = [
    {"type": "image_url", "image_url": {"url": asked["picture"]}},
    {"type": "text", "text": asked["question"]},
]
about = {"model": "tiny-spatial", "messages": [{"role": "user", "content": content}]}
hello = {"model": "", "messages": [{"role": "user", "content": "Hello"}]}


def create(by=client, **fields):
    return by.chat.completions.create(**fields)


def named(told):
    heatmap = told["heatmap"]
    return [told["intervention"], len(told["image_share"]), None if heatmap is None else heatmap[:22]]


def error_of(kind, by=client, **fields):
    try:
        create(by, **fields)
        return 200
    except kind as error:
        return [error.status_code, error.body["type"]]


def until_idle():
    request = urllib.request.Request(f"{url}/metrics", headers={"authorization": f"Bearer {key}"})
    while not re.search(r"^adaptvis_requests_running 0$", urllib.request.urlopen(request).read().decode(), re.MULTILINE):
        time.sleep(0.05)


def begun():
    """A long stream of which the first text has come."""
    stream = create(**hello, max_tokens=500, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            return stream
    raise RuntimeError("no text")


chat = create(**about)
chunks = list(create(**about, stream=True, stream_options={"include_usage": True}))
field = {"adaptvis": {"intervention": "scaling", "factor": 0.5, "heatmap": True}}
fields = list(create(**about, stream=True, extra_body=field))
short = create(**about, max_tokens=1)
stopped = create(**about, stop=[chat.choices[0].message.content])
logprobs = create(**about, logprobs=True, top_logprobs=2)
drawn = [
    create(**about, temperature=1.5, top_p=0.9, seed=7, max_completion_tokens=6).choices[0].message.content
    for _ in range(2)
]
by_field = create(**about, extra_body={"adaptvis": {"intervention": "adaptvis"}})
header = {"x-adaptvis": json.dumps({"intervention": "scaling", "factor": 0.5})}
by_header = create(**about, extra_headers=header)

begun().close()
until_idle()

errors = {
    "wrong": error_of(openai.BadRequestError, **about, n=2),
    "key": error_of(openai.AuthenticationError, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0), **hello),
    "model": error_of(openai.NotFoundError, **{**hello, "model": "gpt-5"}),
}
streams = [begun() for _ in range(3)]
errors["many"] = error_of(openai.RateLimitError, **hello)
for stream in streams:
    stream.close()


def joined(parts):
    return "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


def reason(answer):
    return answer.choices[0].finish_reason


usage = chunks[-1].usage
report = {
    "chat": [
        chat.choices[0].message.content,
        reason(chat),
        chat.usage.completion_tokens,
        chat.usage.prompt_tokens == usage.prompt_tokens,
    ],
    "stream": [joined(chunks), reason(chunks[-2]), usage.completion_tokens],
    "streamedField": [joined(fields) != "", *named(fields[-1].adaptvis)],
    "length": reason(short),
    "stop": [stopped.choices[0].message.content, reason(stopped)],
    "logprobs": [[each.token, len(each.top_logprobs)] for each in logprobs.choices[0].logprobs.content],
    "isRepeatable": drawn[0] == drawn[1],
    "field": named(by_field.adaptvis),
    "header": named(by_header.adaptvis),
    "isAborted": True,
    "errors": errors,
}
print(json.dumps(report))
