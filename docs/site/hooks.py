"""What the site has beside the pages in docs/: the README, the changelog, and the reference that is made from the code.

Links out of docs/ (to a source file, a sample, a test) become the path in the repository: the site stands alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from docs.site import reference
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
FETCHED = ROOT / ".venv" / "site" / "node_modules"
MERMAID = FETCHED / "mermaid" / "dist" / "mermaid.min.js"
SHIM = FETCHED / "iframe-worker" / "shim" / "index.js"  # lets the search of a page run that was opened as a file
_SHIM = "https://unpkg.com/iframe-worker/shim"
_LINK = re.compile(r"\[([^\[\]]*)\]\(((?!https?:|#|mailto:)[^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """The generated pages, and what `make site` has fetched: without mermaid diagrams stay text."""
    pages = {
        "index.md": (ROOT / "README.md").read_text(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
        "commands.md": reference.commands(),
        "events.md": reference.events(),
        **reference.event_pages(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    if MERMAID.exists():
        files.append(File.generated(config, "mermaid.min.js", abs_src_path=str(MERMAID)))
        config.extra_javascript.append("mermaid.min.js")
    if SHIM.exists():
        files.append(File.generated(config, "shim.js", abs_src_path=str(SHIM)))
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """No page asks another host for a script."""
    return output.replace(_SHIM, posixpath.relpath("shim.js", posixpath.dirname(page.url) or "."))


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """Nor does the page of a wrong address."""
    return output_content.replace(_SHIM, "/shim.js") if template_name == "404.html" else output_content


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Every link goes to a page of the site or names a path in the repository."""
    at_root = page.file.src_uri in {"index.md", "changelog.md"}
    folder = posixpath.dirname(page.file.src_uri if at_root else f"docs/{page.file.src_uri}")

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(folder, path))
        inside = place.removeprefix("docs/")
        file = files.get_file_from_path(inside) if place.startswith("docs/") else None
        if file and file.inclusion.is_included():
            here = posixpath.dirname(page.file.src_uri)
            return f"[{text}]({posixpath.relpath(inside, here or '.')}{'#' + anchor if anchor else ''})"
        return text if text.strip("`") in place else f"{text} (`{place}`)"

    return _LINK.sub(link, markdown)
