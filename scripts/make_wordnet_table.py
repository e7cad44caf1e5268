"""Make the package's WordNet table from WordNet 3.0's `data.noun`.

    python scripts/make_wordnet_table.py /usr/share/wordnet/data.noun OVERRIDES.json

`data.noun` comes with Debian's `wordnet-base` (WordNet 3.0). OVERRIDES.json maps a child id to the
parent that ImageNet's own `wordnet.is_a.txt` ends in where it is not WordNet's first hypernym (null:
no parent). Ids, parents and lemmas are kept; glosses are not.
"""

import json
import lzma
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "hypernym" / "hierarchy"


def main(data_noun: Path, overrides: Path) -> None:
    """Write the table of synsets and the table of ImageNet's overrides."""
    text = data_noun.read_text(encoding="latin-1")
    if "WordNet 3.0 Copyright" not in text[:4000]:
        sys.exit(f"{data_noun} is not WordNet 3.0: ids of other versions are other offsets.")
    lines = [make_row(line) for line in text.splitlines() if not line.startswith("  ")]
    table = lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)
    (ROOT / "wordnet_nouns.tsv.xz").write_bytes(table)
    rows = sorted(json.loads(overrides.read_text()).items())
    override_rows = "".join(f"{child}\t{parent or ''}\n" for child, parent in rows)
    (ROOT / "imagenet_parents.tsv").write_text(override_rows)
    print(f"{len(lines)} synsets, {len(table):,} bytes; {len(rows)} overrides")


def make_row(line: str) -> str:
    """Turn a line of data.noun (see wndb(5)) into `id TAB hypernyms TAB lemmas`."""
    fields = line.split(" | ", maxsplit=1)[0].split()
    num_words = int(fields[3], 16)
    lemmas = [word.replace("_", " ") for word in fields[4 : 4 + 2 * num_words : 2]]
    pointers = fields[5 + 2 * num_words :]
    quadruples = zip(*(pointers[place::4] for place in range(4)), strict=False)
    hypernyms = [f"n{offset}" for symbol, offset, *_ in quadruples if symbol in {"@", "@i"}]
    return f"n{fields[0]}\t{','.join(hypernyms)}\t{';'.join(lemmas)}\n"


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004 - the two paths of the docstring
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
