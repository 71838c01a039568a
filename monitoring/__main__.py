"""`python -m monitoring FOLDER`: writes what is rendered, into a copy of the project (`make reference`)."""

import sys
from pathlib import Path

from monitoring.rendering import rendered

if __name__ == "__main__":
    for path, text in rendered().items():
        file = Path(sys.argv[1]) / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
