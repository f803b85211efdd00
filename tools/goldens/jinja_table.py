"""Makes test/golden/preprocess/jinja.json: what transformers' Jinja2 environment renders for a table of templates.

    python jinja_table.py

A case is a template and its text, or null where Jinja2 fails. The variables are in the file too.
"""

import copy
import json
import re
from pathlib import Path

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

OUT = Path(__file__).resolve().parents[2] / "test" / "golden" / "preprocess" / "jinja.json"

VARIABLES = {
    **{"s": "Hello World", "u": "naïve ß", "e": "", "w": "  pad\t\n", "i": 7, "n": -7, "f": 2.5, "g": -2.25, "t": True, "z": None},
    **{"l": [3, 1, 2], "ls": ["b", "A", "c"], "d": {"a": 1, "b": "x"}, "nl": [[1, "a"], ["b", None]]},
    "m": [{"role": "user", "k": 2, "o": {"p": 1}}, {"role": "assistant", "k": 1}],
}

OPERATORS = "+|-|*|/|//|%|**|~|==|!=|<|<=|in|not in|and|or".split("|")
LEFT = ["s", "i", "n", "g", "t", "z", "ls", "d", "undef", "'7'"]
RIGHT = ["s", "n", "f", "t", "z", "ls", "undef", "2"]

TEXT_METHODS = """upper() lower() strip() title() capitalize() split() split('o',1) rsplit('o',1) replace('l','L',1) startswith('He')
endswith(('d','x')) find('o') rfind('o') count('l') join(ls) strip('Hd') lstrip('H') rstrip('d') removeprefix('He') removesuffix('ld')
isdigit() isalpha() isupper() islower() isspace() isalnum() zfill(15) center(15) ljust(15) rjust(15) partition('_') rpartition('o')
splitlines() length foo foo() __class__ casefold()""".split()
PARTS = """d.get('a') d.get('q') d.get('q',5) d.items() d.items()|list d.keys() d.values() d.a d.q d['a'] d['items'] d.copy() d.update({})
l[0] l[-1] l[5] l[1:] l[:-1] l[::-1] l[::2] l[5:] l[-2:] l.index(1) l.count(1) l.append(1) l.length l.0 s[0] s[-1] s[1:4] s[::-1] s[20]
ls[1:] undef.a undef['a'] d.q.r z.a i.a m[0].o.p m[1].o.p nl[0][1]""".split()
FILTERS = """abs batch(2)|list capitalize count d('x') default('x',true) dictsort e first float float(1) groupby('role') indent
indent(2,true) int int(5) items|list join join(',_') join(',_',attribute='role') last length list lower map('upper')|list
map(attribute='role')|list map(attribute='o.p',default='-')|list max min reject('odd')|list rejectattr('role','equalto','user')|list
replace('l','L') replace('l','L',1) reverse|list reverse round round(1) safe select|list select('string')|list
selectattr('k')|list selectattr('o','defined')|list selectattr('k','gt',1)|list selectattr('role','in',['user'])|list sort
sort(reverse=true) sort(attribute='k') string sum sum(attribute='k') title tojson tojson(indent=2) tojson(ensure_ascii=true) trim
trim('H') truncate(5) unique|list upper wordcount nosuch""".split()
TESTS = """boolean callable defined even false float in integer iterable lower mapping none number odd sequence string true undefined
upper nosuch""".split()
VALUES = "s u w e i n f g t z l ls d m nl undef".split()

OTHERS = r"""
{{ '%s-%d' % ('a', 3) }}|||{{ '%05.2f' % f }}|||{{ '%s' % l }}|||{{ '%x' % 255 }}|||{{ '%r' % s }}|||{{ '%(a)s' % d }}|||{{ '%5s|%-5s|' % ('a','b') }}
{{ '%05s' % '12' }}|||{{ '%+d' % 3 }}|||{{ '%.2f' % 0.125 }}|||{{ '%s' % () }}|||{{ '%d' % 'a' }}|||{{ 'a' % 1 }}|||{{ '%q' % 1 }}|||{{ '%s|%s'|format('a', 2) }}
{{ 2**10 }}|||{{ 2**-1 }}|||{{ -2**2 }}|||{{ 2**3**2 }}|||{{ 2**53+1 }}|||{{ 2**64 }}|||{{ 9007199254740993 }}|||{{ 7//2*2 }}|||{{ -7 % 3 }}|||{{ 7 % -3 }}|||{{ 7.5 % 2 }}
{{ 10/2 }}|||{{ 1/3 }}|||{{ 5.0 // 2 }}|||{{ -5 // 2 }}|||{{ 1 // 0 }}|||{{ 1 % 0 }}|||{{ -0.0 }}|||{{ 0.1+0.2 }}|||{{ 0.00001 }}|||{{ 123456789012345680.0 }}|||{{ 12345678.9 }}
{{ 1 < 3 < 2 }}|||{{ 3 > 2 > 2 }}|||{{ not i is none }}|||{{ 1 if e }}|||{{ (1,2) }}|||{{ [1,'a',none,true,2.0] }}|||{{ {'a':1,'b':[1,2]} }}|||{{ ["it's", '\n\t\\', 'é'] }}
{{ l == [3,1,2] }}|||{{ d == {'a':1,'b':'x'} }}|||{{ [1] in [[1]] }}|||{{ 1 == 1.0 }}|||{{ true == 1 }}|||{{ '1' == 1 }}|||{{ none == undef }}|||{{ [1,2] < [1,3] }}|||{{ (1,2) == [1,2] }}
{{ l + [4] }}|||{{ l * 2 }}|||{{ 'ab' * 3 }}|||{{ 'x' + 1 }}|||{{ 'x' + none }}|||{{ 1 + true }}|||{{ 'a' ~ none ~ true ~ 1.5 ~ [1] }}|||{{ s ~ 1.0 }}|||{{ 'a' 'b' }}
{% for a in s %}{{ a }},{% endfor %}|||{% for k in d %}{{ k }}{% endfor %}|||{% for k,v in d.items() %}{{ k }}{{ v }}{% endfor %}|||{% for a in i %}x{% endfor %}
{% for a in undef %}x{% endfor %}|||{% for a in z %}x{% endfor %}|||{% for a,b in nl %}{{ a }}{{ b }}{% endfor %}|||{% for a,b in [(1,2)] %}{{ b }}{% endfor %}
{% for a in l %}{{ loop.cycle('x','y') }}{{ loop.depth }}{% endfor %}|||{% for a in l %}{{ loop.changed(a) }}{% endfor %}|||{% for a in l %}{{ loop }}{% endfor %}
{% set q = 1 %}{% for a in l %}{% set q = a %}{% endfor %}{{ q }}|||{% set ns = namespace(a=1) %}{% for a in l %}{% set ns.a = a %}{% endfor %}{{ ns.a }}
{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, b=3) }}|||{% macro f(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call f(1) %}in{% endcall %}
{% macro f() %}{{ q }}{% endmacro %}{% set q = 3 %}{{ f() }}|||{% macro f() %}{{ q }}{% endmacro %}{% for q in l %}{{ f() }}{% endfor %}|||{% filter upper %}abc{% endfilter %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}|||{% set q %}text {{ i }}{% endset %}[{{ q }}]|||{% if 0.0 %}c{% endif %}{% if d %}d{% endif %}{% if l %}l{% endif %}|||{{ namespace(a=1) }}|||{{ range(3) }}|||{{ range(3)|list }}
a~{% if t %}~b~{% endif %}~c~|||a {%- if t -%} b {%- endif -%} c|||  {% if t %}x{% endif %}~  {{ i }}  ~|||{#- c -#} x|||{{ 'a' }}~~|||{{- ' x ' -}}~  y|||a~  {# c #}~b
{% generation %}abc{% endgeneration %}|||{%- generation -%} abc {%- endgeneration -%} x|||  {% generation %}~abc~  {% endgeneration %}~x|||{{ '{% generation %}' }}
{{ {'a': 1.0, 'c': true, 'd': none} | tojson }}|||{{ 'é<>&\'' | tojson }}|||{{ {'b':1,'a':2} | tojson(sort_keys=true) }}|||{{ [] | tojson(indent=2) }}|||{{ {'a':[1]} | tojson(separators=(',',':')) }}|||{{ undef | tojson }}
{{ 'ß'.upper() }}|||{{ "it's ok".title() }}|||{{ "it's ok" | title }}|||{{ 'o\'neil-x y' | title }}|||{{ 'ABC def' | capitalize }}|||{{ '👍x'[0] }}|||{{ '👍x' | length }}|||{{ '👍x' | reverse }}
{{ 'a b'.split(' ', maxsplit=1) }}|||{{ 'abc'.replace('','-') }}|||{{ '3.7' | int }}|||{{ '12abc' | int }}|||{{ ' 12 ' | int }}|||{{ 3.7 | int }}|||{{ -3.7 | int }}|||{{ 2.5 | round }}|||{{ 3.5 | round }}
{{ [none, true, 1.0] | join(',') }}|||{{ [[1,2]] | join }}|||{{ ['b','A','a','B'] | sort }}|||{{ ['b','A','a','B'] | unique | list }}|||{{ [1,1.0,true] | unique | list }}|||{{ 'a~~b' | indent(2, blank=true) }}
{{ undef }}|||{{ undef ~ 'x' }}|||{{ undef() }}|||{{ self }}|||{{ raise_exception('no') }}|||{{ ''.__class__.__mro__ }}|||{{ dict(a=1) }}|||{% raw %}{{ x }}{% endraw %}|||{{ i is divisibleby 7 }}
"""


def templates() -> list:
    found = [f"{{{{ {left} {operator} {right} }}}}" for left in LEFT for operator in OPERATORS for right in RIGHT]
    found += [f"{{{{ {value}.{method.replace('_', ' ') if '__' not in method else method} }}}}" for value in "suwe" for method in TEXT_METHODS]
    found += [f"{{{{ {part} }}}}" for part in PARTS]
    found += [f"{{{{ {value} | {name.replace(',_', ', ')} }}}}" for value in VALUES for name in FILTERS]
    found += [f"{{{{ {value} is {name} }}}}" for value in VALUES for name in TESTS]
    found += [case.replace("~\n", "~") for line in OTHERS.strip().split("\n") for case in unfolded(line)]
    return list(dict.fromkeys(found))


def unfolded(line: str) -> list:
    """In cases that begin a line of text, ~ stands for a line end."""
    cases = line.split("|||")
    return [case.replace("~", "\n") if re.search(r"~~|[%}]}~|^a~|~  ", case) else case for case in cases]


def rendered(template: str):
    try:
        return _compile_jinja_template(template).render(**copy.deepcopy(VARIABLES))
    except Exception:
        return None


def main():
    cases = [[template, rendered(template)] for template in templates()]
    kept = [[template, text] for template, text in cases if text is None or " object at 0x" not in text]
    versions = {"jinja2": jinja2.__version__, "transformers": transformers.__version__}
    content = {"versions": versions, "variables": VARIABLES, "cases": kept}
    OUT.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
