"""The raw material: which drawings of the Iconify collection may be used, who drew them, and what they look like.

`catalogue()` reads the npm package `@iconify/json` and lists one record per usable drawing; `render_all()` draws them
(64 x 64, on white) into one memory-mapped array; `perceptual_hashes()` condenses each image into 64 bits.

Leaves out: which drawing goes where (build_iconnet.py) and what is learned from them (pretrain_miniclip.py).
"""

import json
import re
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

SIZE = 64

LICENCES = {
    "MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "OFL-1.1", "Unlicense",
}  # fmt: skip
# Logos, programming logos and flags are no drawings of things; animated sets start with an empty first frame.
EXCLUDED_CATEGORIES = {"Logos", "Programming"}
EXCLUDED_SETS = {
    "circle-flags", "cif", "flag", "flagpack", "svg-spinners", "line-md", "selfhst", "academicons", "bpmn", "geo",
    "cryptocurrency", "cryptocurrency-color", "ginetex", "fad", "fa-brands", "fa6-brands", "fa7-brands", "ls",
}  # fmt: skip

# A family is a designer's whole body of work: forks, successors and weights of one another belong together.
FAMILIES = {
    "fontawesome": "fa fa-regular fa-solid fa6-regular fa6-solid fa7-regular fa7-solid",
    "feather": "feather lucide lucide-lab",
    "ionicons": "ion famicons",
    "boxicons": "bx bxs boxicons",
    "material": "ic material-symbols material-symbols-light mdi mdi-light zmdi memory",
    "icons8": "icons8 wpf la flat-color-icons",
    "noto": "noto noto-v1",
    "emojione": "emojione emojione-monotone",
    "microsoft": "fluent fluent-color fluent-emoji fluent-emoji-flat fluent-emoji-high-contrast fluent-mdl2 codicon",
    "icon-park": "icon-park icon-park-outline icon-park-solid icon-park-twotone",
    "heroicons": "heroicons heroicons-outline heroicons-solid sidekickicons",  # sidekick: drawn to extend heroicons
    "iconscout": "uil uim uis uit",
    "pepicons": "pepicons pepicons-pencil pepicons-pop pepicons-print",
    "mono": "mi mono-icons",
    "halfmann": "pixelarticons majesticons",  # Gerrit Halfmann
    "juge": "mynaui vadivam",  # Praveen Juge
    "glyphs": "glyphs glyphs-poly",
    "solar": "solar reicon",  # shares Solar's drawings and file names
}
FAMILY_OF = {member: family for family, members in FAMILIES.items() for member in members.split()}

# Of sets that draw everything in six weights, these say little new.
SKIPPED_STYLES = {
    ("iconmind", "Outline Thin"), ("iconmind", "Outline Bold"), ("iconmind", "Duotone Thin"),
    ("iconmind", "Duotone Regular"), ("keyline-icons", "Sharp"), ("keyline-icons", "Sharp Fill"),
    ("keyline-icons", "Sharp Duotone"), ("keyline-icons", "Sharp Two Tone"), ("material-symbols-light", "Rounded"),
    ("material-symbols-light", "Sharp"), ("material-symbols-light", "Outline Rounded"),
    ("material-symbols-light", "Outline Sharp"), ("material-symbols", "Outline Sharp"), ("ph", "Thin"), ("ph", "Light"),
}  # fmt: skip

SIZES = re.compile(r"-(10|12|16|20|24|28|32|36|48|96)(px)?$")


@dataclass(frozen=True)
class Drawing:
    set: str  # Iconify prefix, e.g. "game-icons"
    name: str  # file name, e.g. "black-cat-fill"
    thing: str  # the name without style and size, e.g. "black-cat"
    style: str  # the designer's own word for the style, e.g. "Fill", or ""
    family: str
    colour: bool
    category: str
    body: str  # SVG elements
    box: tuple[float, float, float, float]  # left, top, width, height

    @property
    def key(self) -> str:
        return f"{self.set}--{self.name}"


def family(prefix: str) -> str:
    return FAMILY_OF.get(prefix) or ("streamline" if prefix.startswith(("streamline", "covid", "guidance")) else prefix)


def split_style(name: str, suffixes: dict, prefixes: dict) -> tuple[str, str]:
    """("black-cat-fill", {"fill": "Fill"}) -> ("black-cat", "Fill"); a size is no style."""
    for prefix in sorted(filter(None, prefixes), key=len, reverse=True):
        if name.startswith(prefix + "-"):
            return name[len(prefix) + 1 :], prefixes[prefix]
    for suffix in sorted(filter(None, suffixes), key=len, reverse=True):
        if name.endswith("-" + suffix):
            return SIZES.sub("", name[: -len(suffix) - 1]), re.sub(r"\b\d\d(px|x\d\d)?\b", "", suffixes[suffix]).strip()
    return SIZES.sub("", name), suffixes.get("", "")


COMMON_STYLES = re.compile(r"-(outlined|outline|filled|fill|solid|line|linear|bold|thin|light|duotone|twotone|two-tone|"
                           r"sharp|rounded|round|regular|negative)$")  # fmt: skip


def catalogue(package: Path) -> tuple[list[Drawing], dict]:
    """All usable drawings, and the collection's own description of each set."""
    sets = json.loads((package / "collections.json").read_text())
    brands = _brand_names(package, sets)
    drawings = []
    for prefix, info in sorted(sets.items()):
        if info["license"].get("spdx") not in LICENCES or info.get("category") in EXCLUDED_CATEGORIES:
            continue
        if prefix in EXCLUDED_SETS:
            continue
        data = json.loads((package / "json" / f"{prefix}.json").read_text())
        category_of = {n: c for c, names in (data.get("categories") or {}).items() for n in names}
        seen_sizes = {}
        for name, icon in data["icons"].items():
            category = category_of.get(name, "")
            if icon.get("hidden") or re.search(r"logo|brand|flag|countr", category, re.I):
                continue
            if re.match(r"(logo|brand|flag)s?-", name) or ("currentColor" not in icon["body"] and not info["palette"]):
                continue
            thing, style = split_style(name, data.get("suffixes") or {}, data.get("prefixes") or {})
            # sets without declared suffixes write the style into the name all the same
            while COMMON_STYLES.search(thing):
                style = style or COMMON_STYLES.search(thing)[1].title()
                thing = SIZES.sub("", COMMON_STYLES.sub("", thing))
            if (prefix, style) in SKIPPED_STYLES or "skin-tone" in name or thing in brands or len(thing) < 2:
                continue
            box = tuple(
                icon.get(k, data.get(k, d)) for k, d in [("left", 0), ("top", 0), ("width", 16), ("height", 16)]
            )
            drawing = Drawing(
                prefix, name, thing, style, family(prefix), bool(info["palette"]), category, icon["body"], box
            )
            size = SIZES.search(re.sub(r"-(filled|regular|light|solid)$", "", name))
            size = int(size[1]) if size else 24
            best = seen_sizes.get((thing, style))
            if best is None or abs(size - 24) < abs(best[0] - 24):  # one size is enough: the one drawn for 24 px
                seen_sizes[thing, style] = (size, drawing)
        drawings += [drawing for _, drawing in seen_sizes.values()]
    return drawings, sets


def _brand_names(package: Path, sets: dict) -> set[str]:
    """Names that are somebody's logo in the sets that mark their logos: no drawing of that name is used anywhere."""
    names = set()
    for prefix in ("fa-brands", "fa6-brands", "fa7-brands", "bxl"):
        names |= set(json.loads((package / "json" / f"{prefix}.json").read_text())["icons"])
    for prefix in sets:
        data = json.loads((package / "json" / f"{prefix}.json").read_text())
        for category, members in (data.get("categories") or {}).items():
            if re.search(r"logo|brand", category, re.I):
                names |= {split_style(m, data.get("suffixes") or {}, data.get("prefixes") or {})[0] for m in members}
        names |= {re.sub(r"^(logo|brand)-", "", n) for n in data["icons"] if re.match(r"(logo|brand)-", n)}
    emoji = set(json.loads((package / "json" / "twemoji.json").read_text())["icons"])
    return names - emoji


def render(drawing: Drawing) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8: black (or in its own colours) on white, centred in a square."""
    import resvg_py

    left, top, width, height = drawing.box
    side = max(width, height)
    view = f"{left - (side - width) / 2} {top - (side - height) / 2} {side} {side}"
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{view}" '
           f'width="{SIZE}" height="{SIZE}" color="#000000">{drawing.body}</svg>')  # fmt: skip
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, background="white"))
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def render_all(drawings: list[Drawing], folder: Path) -> np.ndarray:
    """(N, SIZE, SIZE, 3) uint8, memory-mapped; made once, then read. Images that cannot be drawn stay white."""
    folder.mkdir(parents=True, exist_ok=True)
    done, path = folder / "pictures.done", folder / "pictures.npy"
    if not done.exists():
        images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(drawings), SIZE, SIZE, 3))
        for i, drawing in enumerate(tqdm(drawings, desc="drawing", mininterval=10)):
            try:
                images[i] = render(drawing)
            except Exception:
                images[i] = 255
        images.flush()
        done.write_text(str(len(drawings)))
    images = np.load(path, mmap_mode="r")
    if len(images) != len(drawings):
        raise ValueError(
            f"{path} holds {len(images)} images, the catalogue {len(drawings)}: take another folder, or remove "
            f"{path.name} and {done.name} from this one"
        )
    return images


def perceptual_hashes(images: np.ndarray, batch: int = 8192) -> np.ndarray:
    """(N,) uint64: signs of the 64 lowest cosine frequencies against their median (the classic pHash)."""
    n = 32
    k, x = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * n))[:8].astype(np.float32)  # (8, 32)
    hashes = np.empty(len(images), np.uint64)
    for start in range(0, len(images), batch):
        gray = images[start : start + batch].mean(-1, dtype=np.float32)
        small = gray.reshape(-1, n, SIZE // n, n, SIZE // n).mean((2, 4))
        low = (cosines @ small @ cosines.T).reshape(-1, 64)
        middle = np.median(low[:, 1:], axis=1, keepdims=True)  # the first coefficient is the brightness
        # in a symmetric drawing many coefficients are zero, up to rounding: none of them counts
        bits = low > middle + 1
        hashes[start : start + batch] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return hashes


def shape_statistics(images: np.ndarray, batch: int = 8192) -> np.ndarray:
    """(N, 3): share of ink, share of the ink that survives an erosion by 3 pixels (solid shapes), and colourfulness."""
    rows = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch].astype(np.float32)
        ink = (255 - part.min(-1)) > 64
        core = ink.copy()
        for axis in (1, 2):
            for shift in (-3, -2, -1, 1, 2, 3):
                core &= np.roll(ink, shift, axis)
        area = ink.mean((1, 2))
        rows.append(np.stack([area, core.mean((1, 2)) / np.maximum(area, 1e-6),
                              ((part.max(-1) - part.min(-1)) > 40).mean((1, 2))], 1))  # fmt: skip
    return np.concatenate(rows)


def record(drawing: Drawing) -> dict:
    """What is kept about a drawing, without its SVG."""
    return {k: v for k, v in asdict(drawing).items() if k not in ("body", "box")}
