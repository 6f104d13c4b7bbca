"""What the tests share: a fake encoder, small checkpoints written on the spot, texts in many scripts."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

from latechunk import Document, Index, SentenceChunker
from latechunk.errors import QueryError
from latechunk.readers import count_documents, find_files, read_documents
from latechunk.types import FloatArray, PoolingTask, Tokens

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", parent=settings.get_profile("default"), max_examples=1000)
settings.register_profile(  # of `make mutants`: any failure is enough, and always on the same input
    "mutants",
    parent=settings.get_profile("default"),
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("default")

DIMS = 8

SCRIPTS = {
    "Latin": "Berlin is the capital. It has 3.8 million people! Crème brûlée, naïve café.",
    "Cyrillic": "Москва — столица России. В ней живёт тринадцать миллионов человек.",
    "Greek": "Η Αθήνα είναι η πρωτεύουσα. Έχει πολλούς κατοίκους;",
    "Arabic": "القاهرة هي العاصمة. يعيش فيها ملايين الناس؟ نعم.",
    "Hebrew": "ירושלים היא עיר עתיקה. גרים בה אנשים רבים.",
    "Devanagari": "दिल्ली भारत की राजधानी है। इसमें करोड़ों लोग रहते हैं।",
    "Bengali": "ঢাকা বাংলাদেশের রাজধানী। এখানে অনেক মানুষ থাকে।",
    "Tamil": "சென்னை ஒரு பெரிய நகரம். அங்கு பலர் வாழ்கிறார்கள்.",
    "Thai": "กรุงเทพเป็นเมืองหลวงของประเทศไทย มีประชากรหลายล้านคน",
    "Han": "北京是中国的首都。它有两千多万人口！你去过吗？",
    "Kana": "東京は日本の首都です。人口は約千四百万人です。",
    "Hangul": "서울은 대한민국의 수도이다. 인구는 약 천만 명이다.",
    "Georgian": "თბილისი საქართველოს დედაქალაქია. აქ ბევრი ხალხი ცხოვრობს.",
    "Amharic": "አዲስ አበባ ዋና ከተማ ናት። ብዙ ሰዎች ይኖሩባታል።",
    "Emoji": "Hi 👩‍👩‍👧‍👦! 👍🏽 ok. 🇩🇪 🏳️‍🌈 e\u0301 n\u0303. Done…",
}


class FakeEncoder:
    """Words are tokens; a token's vector comes from its letters and a little of its neighbours'.

    A stand-in for a model where the model is not what is tested: deterministic, contextual, without torch.
    """

    def __init__(self, dims: int = DIMS, name: str = "fake") -> None:
        self.dims = dims
        self.name = name
        self.n_encoded = 0

    @property
    def settings(self) -> dict[str, object]:
        return {"kind": "fake", "model": self.name, "dims": self.dims}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._tokenize(text) for text in texts]

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        results = []
        for number, task in enumerate(tasks):
            self.n_encoded += 1
            own = np.stack([self._vector(int(one)) for one in task.tokens.ids])
            padded = np.pad(own, ((1, 1), (0, 0)))
            contextual = own + 0.25 * (padded[:-2] + padded[2:])
            means = np.stack([contextual[start:end].mean(axis=0) for start, end in task.ranges])
            results.append((means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32))
            if on_progress:
                on_progress(number, len(task.tokens))
        return results

    def encode_query(self, text: str) -> FloatArray:
        (tokens,) = self.tokenize([text])
        if not len(tokens):
            raise QueryError("the query holds no token")
        return self.encode_spans([PoolingTask.whole(tokens)])[0][0]

    def _tokenize(self, text: str) -> Tokens:
        words = list(re.finditer(r"\S+", text))
        ids = [int.from_bytes(hashlib.sha256(word.group().encode()).digest()[:6], "big") for word in words]
        offsets = np.array([word.span() for word in words], dtype=np.int64).reshape(-1, 2)
        return Tokens(prompt_ids=(), ids=np.array(ids, dtype=np.int64), offsets=offsets)

    def _vector(self, token: int) -> np.ndarray:
        return _draw(token, self.dims)


@cache
def _draw(token: int, dims: int) -> np.ndarray:
    return np.random.default_rng(token).normal(size=dims)


@pytest.fixture(autouse=True, scope="session")
def unpacked_once() -> Iterator[None]:
    """A packed file is gone through once in a session: the default model is loaded by hundreds of tests."""
    from latechunk.models import fast_path, packed  # here, as processes that tests start import this and no torch

    found: dict[object, packed.Unpacked] = {}

    def unpack(path: Path) -> packed.Unpacked:
        state = path.stat()
        key = path, state.st_mtime_ns, state.st_size
        if key not in found:
            found[key] = packed.unpack(path)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path, "unpack", unpack)
        yield


@pytest.fixture
def fake() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def index(tmp_path: Path, fake: FakeEncoder) -> Index:
    with Index.create(tmp_path / "test.latechunk", encoder=fake, chunker=SentenceChunker(max_tokens=8)) as index:
        yield index


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(
            "berlin", "Berlin is the capital of Germany. It has many people. The Spree runs through it.", {"n": 1}
        ),
        Document("paris", "Paris is the capital of France. The Seine runs through it.", {"n": 2, "tags": ["a", "b"]}),
        Document("stub", "Hello there."),
    ]


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """A browser, where there is one, that asks for nothing of its own."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sound index, which is not to be changed."""
    from tests.damages import make

    path = tmp_path_factory.mktemp("sound") / "index"
    make(path)
    return path


@pytest.fixture
def index_path(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "index"))


def no_error(document: Document, error: Exception) -> None:
    raise error


@pytest.fixture
def read(tmp_path):
    """Reads a file of this name and content: its documents, and (place after the path, reason) of each problem.

    ``read.notes`` are then (place, what) of each note of the last file.
    """

    def read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        problems, read.notes = [], []
        files = find_files([path], problems.append)
        found = list(read_documents(files, problems.append, lambda *note: read.notes.append(note), **options))
        assert len(found) <= count_documents(files, rows=options.get("rows", False)) or name.endswith(".json")
        return found, [(one.place.removeprefix(str(path)), one.reason) for one in problems]

    return read
