"""Find the numbers in a page's prose: what stands in code, links, roles and directives' options is not prose."""

import re

# Fences that hold code or data; any other ```{directive} holds prose. A fence without braces is code.
CODE_DIRECTIVES = {"code", "code-block", "code-cell", "sourcecode", "literalinclude", "bibliography", "figure"}
_FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^[ \t]*(?P=mark)[ \t]*$", re.M | re.S)
_NOT_PROSE = [
    re.compile(r"\A---\n.*?^---$", re.M | re.S),  # front matter
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"^# \w+ · ", re.M),  # a chapter's number in its title
    re.compile(r"^[ \t]*:[\w-]+:.*$", re.M),  # a directive's options
    re.compile(r"\{[\w:+.-]+\}(`+)[^`].*?\1", re.S),  # a role and its argument
    re.compile(r"(`+)[^`].*?\1", re.S),  # inline code
    re.compile(r"\]\([^)]*\)"),  # a link's target
    re.compile(r"^[ \t]*\[[^\]]+\]:.*$", re.M),  # a link's definition
    re.compile(r"<[^<>\n]+>"),  # an address, a tag of HTML
    re.compile(r"https?://\S+"),
]
_MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)
# A name, not a measurement: Section 4.2, Table 3.1, chapter 13, arXiv:2305.10120; nor is the time a page takes to read.
_NAMED = re.compile(
    r"(?:§|\b(?:sections?|sec\.|tables?|figures?|fig\.|equations?|eq\.|appendix|arxiv:?|chapters?|notebooks?))"
    r"\s*\(?\d[\d.]*|\b\d+(?:\s?(?:–|-|to)\s?\d+)?\s+minutes\b",
    re.I,
)
_NUMBER = re.compile(r"(?<![\w.,\-/])[−+]?\d+(?:[.,]\d+)*(?:\s?\\?%)?(?![\w])")
_FORMULA_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DECIMAL = re.compile(r"\d\.\d")
_TWO_DECIMALS = re.compile(r"\d\.\d\d")


def typed_numbers(markdown):
    """Return the decimal numbers and percentages that a markdown cell types where a glued one belongs.

    Inside $mathematics$ a number counts from two decimals on: 0.5 is part of a formula, 0.947 is a result.
    """
    text = prose(markdown)
    formulas = " ".join(_MATH.findall(text))
    words = numbers(_MATH.sub(" ", text))
    in_words = [number for number in words if _DECIMAL.search(number) or number.endswith("%")]
    in_formulas = [number for number in _FORMULA_NUMBER.findall(formulas) if _TWO_DECIMALS.search(number)]
    return in_words + in_formulas


def prose(markdown):
    """Return the prose (mathematics included) of a markdown text, everything else blanked out."""
    text = _FENCE.sub(_fenced_prose, markdown)
    for pattern in _NOT_PROSE:
        text = pattern.sub(" ", text)
    return _NAMED.sub(" ", text)


def numbers(text):
    """Return the numbers of a text as they are written: "12", "94.6%", "0.05"."""
    return [re.sub(r"[\s\\]", "", number) for number in _NUMBER.findall(text)]


def _fenced_prose(match):
    """Return what is prose in a fence: nothing of code; of a directive its body, found again for nested ones."""
    info = match["info"].strip()
    name = info[1:].split("}")[0] if info.startswith("{") else None
    if name is None or name in CODE_DIRECTIVES:
        return " "
    title = info.split("}", 1)[1]
    body = _FENCE.sub(_fenced_prose, match["body"])
    return f"{title}\n$${body}$$\n" if name == "math" else f"{title}\n{body}\n"
