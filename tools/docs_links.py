"""A hook of mkdocs: links that leave the folder of documents become the name of the file they lead to.

On a code host they lead to the file; the built site has no such files.
"""

from __future__ import annotations

import re
from typing import Any

OUTWARD = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    def name(match: re.Match[str]) -> str:
        text, path = match[1], match[2]
        return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"

    return OUTWARD.sub(name, markdown)
