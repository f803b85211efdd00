"""Conversations with several pictures in the forms of the families' chat templates, as transformers renders them.

    python tools/goldens/chat_families.py test/golden

Writes preprocess/chat-families.json: conversations by name, and per family the template, the token of a picture and the prompts. The
templates are our own, with the constructs of the published ones (filters, generation blocks, namespaces, blanks cut at either side of a
block) and the same prompts: llava-onevision as in llava-hf's repositories, whose pictures and then videos stand before all texts, with a
conversation of its own, `withVideo`, and its prompt; qwen2-vl, which adds a system message where there is none; qwen3-vl, which does not.
"""

import json
import sys
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

PAD = "<|vision_start|><|image_pad|><|vision_end|>"
TEMPLATES = {
    "llava-onevision": ("<image>",
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + ' ' }}{# pictures first #}"
        "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
        "{% for part in m['content'] | selectattr('type', 'equalto', 'video') %}{{ '<video>' }}{% endfor %}"
        "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ '\n' + part['text'] }}{% endgeneration %}{% else %}{{ '\n' + part['text'] }}{% endif %}{% endfor %}"
        "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "qwen2-vl": ("<|image_pad|>",
        "{% set seen = namespace(pictures=0) %}{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\n"
        "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is not string %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' or 'image' in part %}{% set seen.pictures = seen.pictures + 1 %}"
        "{% if add_vision_id %}Picture {{ seen.pictures }}: {% endif %}" + PAD + "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    "qwen3-vl": ("<|image_pad|>", """{%- macro words(content) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for part in content if 'text' in part %}
            {{- part.text }}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- if tools %}
    {{- '<tools>' + (tools | tojson) + '</tools>' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + words(messages[0].content) + '<|im_end|>\\n' }}
{%- endif %}
{%- set seen = namespace(pictures=0) %}
{%- for m in messages %}
    {%- if m.role == "user" %}
        {{- '<|im_start|>' ~ m.role ~ '\\n' }}
        {%- for part in m.content %}
            {%- if part.type == 'image' or 'image_url' in part %}
                {%- set seen.pictures = seen.pictures + 1 %}
                {%- if add_vision_id %}Picture {{ seen.pictures }}: {% endif -%}
                """ + PAD + """
            {%- elif 'text' in part %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif m.role == "assistant" %}
        {{- '<|im_start|>assistant\\n' + words(m.content) }}
        {%- if m.tool_calls %}
            {{- m.tool_calls | tojson }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif loop.last or messages[loop.index0 + 1].role != "tool" %}
        {{- '' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""),
}

image, text = {"type": "image"}, lambda words: {"type": "text", "text": words}
say = lambda role, *content: {"role": role, "content": list(content)}
CONVERSATIONS = {
    "one picture": [say("user", image, text("Where is the mug?"))],
    "no picture": [say("user", text("Hello?"))],
    "three pictures": [say("user", image, text("This"), image, text(" and that "), image, text("Which is left?\nOr none?"))],
    "two turns": [say("user", image, text("Where?")), say("assistant", text("Left.")), say("user", text("And here? "), image)],
    "a system message": [say("system", text("Be brief.")), say("user", image, text("Where?"))],
    "pictures of the second turn": [say("user", text("Hi")), say("assistant", text("Yes?")), say("user", image, image, text("Compare."))],
}


def main():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    render = lambda source, messages: tokenizer.apply_chat_template(
        messages, chat_template=source, add_generation_prompt=True, tokenize=False)
    families = {name: {"imageToken": token, "template": source,
                       "prompts": {case: render(source, messages) for case, messages in CONVERSATIONS.items()}}
                for name, (token, source) in TEMPLATES.items()}
    video = [say("user", text("What"), {"type": "video"}, image, text("happens?")), say("assistant", text("Rain.")),
             say("user", {"type": "video"}, text("And here?"))]
    families["llava-onevision"] |= {"withVideo": video, "videoPrompt": render(TEMPLATES["llava-onevision"][1], video)}
    content = {"versions": {"transformers": transformers.__version__}, "conversations": CONVERSATIONS, "families": families}
    (Path(sys.argv[1]) / "preprocess" / "chat-families.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
