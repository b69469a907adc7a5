"""Makes and reads language packs: what curation knows of a language, learned from a little text of it in seconds.

Read `pack.py` (what a pack holds), `ngrams.py` (its model), `identify.py` (which pack a text fits), `evidence.py` (and
how well), `background.py` (languages without a pack), `build.py`.
"""

from pinisi.curate.packs.build import build_pack
from pinisi.curate.packs.identify import Packs
from pinisi.curate.packs.langpack import langpack
from pinisi.curate.packs.pack import Pack

__all__ = ["Pack", "Packs", "build_pack", "langpack"]
