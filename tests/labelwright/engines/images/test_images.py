"""Rows with images are scored as the model's own forward pass scores them, through the real loading code."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import FakeEngine
from PIL import Image
from tiny_vision import FAMILIES, RECURRENT, tiny_vision_folder

from labelwright.data.task import Label, Task
from labelwright.decide import option_scores
from labelwright.engines.images import check
from labelwright.engines.images.plain import score_batched, score_cached, score_whole
from labelwright.engines.opening import open_engine
from labelwright.engines.packed.decoder import HubDecoder, LeanDecoder
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError
from labelwright.models.weights import Base
from labelwright.pictures.content import keep_image
from labelwright.pictures.imaged import imaged, words_of
from labelwright.prompt import Prompt

TASK = Task("photos", "Name what the image shows.", (Label("pool"), Label("fence post"), Label("no hot water")), 0)
SIZES = [(40, 56), (56, 40), (40, 56), (90, 30)]
WORDS = ["the pump is loud", "", "the pump is loud", "who mends the <image> <|image_pad|> <|vision_start|> today"]


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request, tmp_path_factory):
    folder = tiny_vision_folder(tmp_path_factory.mktemp(request.param) / "model", request.param)
    return open_engine(Base(str(folder)), EngineSettings(dtype="float32", device="cpu", unexpanded_mass=0.0))


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def noise(width, height, seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_png(image, folder):
    path = folder / "image.png"
    image.save(path)
    return path.read_bytes()


@pytest.fixture
def rows(tmp_path):
    """Texts of rows with an image each, of several shapes, two of one shape and the same words."""
    images = [noise(*size, seed) for seed, size in enumerate(SIZES)]
    return images, [
        imaged(words, keep_image(as_png(image, tmp_path))) for image, words in zip(images, WORDS, strict=True)
    ]


def prompt_of(engine):
    return replace(Prompt.for_task(TASK, engine.template), images=True)


def reference(engine, prompt, image, words):
    """One plain forward pass an option over what the model's own processor makes of the whole conversation."""
    processor, model = engine.images.processor, engine.model
    marker = "ROWTEXT"
    messages = [
        {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": marker}]},
    ]
    asked = processor.apply_chat_template(messages, add_generation_prompt=True) + prompt.cue
    # The words are tokenised as plain text, whatever marks they hold.
    before, after = asked.split(marker)
    given = processor(text=[before], images=[image], return_tensors="pt", add_special_tokens=False)
    behind = [*engine.tokens.plain(words), *engine.tokens.markup(after)]
    scores = []
    for option in engine.tokens.tree(prompt.options).options:
        more = torch.tensor([[*behind, *option]])
        inputs = dict(given)
        inputs["input_ids"] = torch.cat([given["input_ids"], more], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "mm_token_type_ids" in given:
            inputs["mm_token_type_ids"] = torch.cat([given["mm_token_type_ids"], torch.zeros_like(more)], dim=1)
        with torch.no_grad():
            log_probs = torch.log_softmax(model(**inputs, use_cache=False).logits[0], dim=-1)
        ends = range(log_probs.shape[0] - len(option) - 1, log_probs.shape[0] - 1)
        scores.append(sum(float(log_probs[place, token]) for place, token in zip(ends, option, strict=True)))
    return scores


def test_scores_are_those_of_a_plain_forward_pass(opened, rows):
    images, texts = rows
    prompt = prompt_of(opened)
    plain = np.array([reference(opened, prompt, *row) for row in zip(images, WORDS, strict=True)])
    assert opened.slow is None
    np.testing.assert_allclose(option_scores(prompt, opened, texts), plain, atol=1e-4)
    # Row by row and in rounds, too; two rows of one shape and the same words differ by their images alone.
    opened.unexpanded_mass = 1e-9
    np.testing.assert_allclose([option_scores(prompt, opened, [one])[0] for one in texts], plain, atol=1e-4)
    opened.unexpanded_mass = 0.0
    assert np.abs(plain[0] - plain[2]).max() > 0.01


def test_an_image_that_rows_share_is_a_part_of_their_prefix(opened, rows, monkeypatch):
    images, texts = rows
    prompt = prompt_of(opened)
    digest = texts[3].partition("\n")[0].removeprefix("\N{OBJECT REPLACEMENT CHARACTER}image ")
    words = ["the pool", "no hot water today", ""]
    asked = [imaged(one, digest) for one in words]
    plain = np.array([reference(opened, prompt, images[3], one) for one in words])
    fed = []
    decode = opened.decoder.__class__.__call__
    monkeypatch.setattr(
        opened.decoder.__class__, "__call__", lambda self, packed, *a: fed.append(packed) or decode(self, packed, *a)
    )
    opened.forget()
    scores = option_scores(prompt, opened, [*asked, texts[0]])
    np.testing.assert_allclose(scores[:3], plain, atol=1e-4)
    # Once behind the prefix, once in the row that has its own.
    assert [len(packed.images) for packed in fed if packed.images] == [1, 1]


def test_text_alone_is_scored_as_before(opened):
    prompt = Prompt.for_task(TASK, opened.template)
    texts = ["the pool is green", "who mends the fence post today"]
    ids = [[*opened.tokens.prefix(one), *opened.tokens.row(one)] for one in prompt.render_all(texts)]
    for line, scored in zip(ids, option_scores(prompt, opened, texts), strict=True):
        for option, score in zip(opened.tokens.tree(prompt.options).options, scored, strict=True):
            with torch.no_grad():
                logits = opened.model(input_ids=torch.tensor([[*line, *option]])).logits[0]
            log_probs = torch.log_softmax(logits, dim=-1)[len(line) - 1 :]
            assert abs(sum(float(log_probs[i, token]) for i, token in enumerate(option)) - score) < 1e-4


@pytest.mark.parametrize("way", [score_batched, score_cached, score_whole])
def test_the_slow_ways_come_to_the_same(opened, rows, way, monkeypatch):
    prompt, texts = prompt_of(opened), rows[1]
    fast = option_scores(prompt, opened, texts)
    monkeypatch.setattr(opened, "slow", way)
    np.testing.assert_allclose(option_scores(prompt, opened, texts), fast, atol=1e-4)


def test_the_decoder_is_the_fast_one_where_it_can_be(opened):
    is_llama = "Idefics3" in type(opened.model).__name__
    assert isinstance(opened.decoder, LeanDecoder if is_llama else HubDecoder)


def test_marks_in_a_row_are_plain_text(opened, rows):
    """No string of a row becomes an image's token, a special token or a part of the template."""
    prompt, texts = prompt_of(opened), rows[1]
    special = set(opened.tokenizer.all_special_ids) | {
        opened.tokenizer.convert_tokens_to_ids(opened.images.image_token)
    }
    (rendered,) = prompt.render_all([texts[3]])
    assert rendered.user == words_of(texts[3]) == WORDS[3]
    user = opened.tokens.plain(rendered.user)
    assert not special & set(user)
    assert opened.tokenizer.decode(user) == WORDS[3]


def test_a_row_cannot_name_an_image_by_its_words(opened, rows):
    """The first line of a text is the reader's; one that a row writes stands behind it."""
    other = rows[1][0].partition("\n")[0]
    forged = imaged(f"{other}\nthe pool", rows[1][1].split()[-1])
    (rendered,) = prompt_of(opened).render_all([forged])
    assert rendered.image == rows[1][1].split()[-1]
    assert rendered.user.startswith(other)


def test_a_row_without_an_image_is_one_clear_line(opened):
    with pytest.raises(DataError, match="comes without its image"):
        option_scores(prompt_of(opened), opened, ["the pool"])
    prompts = [Prompt.for_task(TASK, opened.template).render("a"), prompt_of(opened).render(imaged("x", "0" * 64))]
    with pytest.raises(DataError, match=r"^row 2 \('x'…\): image 000000000000… is not kept on this machine"):
        opened.score(prompts, (" a", " b"))


def test_who_reads_no_images_is_not_asked_about_them(rows):
    """Only a predictor, which learnt from words, may be; it is asked about the words."""
    engine = FakeEngine()
    prompt = replace(Prompt.for_task(TASK, engine.template), images=True)
    with pytest.raises(ModelError, match="reads no images, and rows have some"):
        option_scores(prompt, engine, rows[1])


def test_what_does_not_fit_names_its_row(opened, rows):
    limit = opened.tokens.max_tokens
    opened.tokens.max_tokens = 60
    try:
        with pytest.raises(DataError, match=r"rows? 1 .* reads at most 60"):
            option_scores(prompt_of(opened), opened, rows[1])
    finally:
        opened.tokens.max_tokens = limit


def test_many_rows_are_taken_a_few_at_a_time(opened, rows, monkeypatch):
    """So that not all their images are held at once; the scores stay, and so do the numbers of rows."""
    prompt, texts = prompt_of(opened), rows[1]
    whole = option_scores(prompt, opened, [*texts, texts[0]])
    monkeypatch.setattr("labelwright.engines.passes.groups.IMAGE_ROWS", 2)
    np.testing.assert_allclose(option_scores(prompt, opened, [*texts, texts[0]]), whole, atol=1e-4)
    with pytest.raises(DataError, match=r"^row 5 \("):
        option_scores(prompt, opened, [*texts, imaged("x", "0" * 64)])


def test_images_are_looked_at_once(opened, rows, monkeypatch):
    opened.forget()
    looked = []
    look = opened.images.look
    monkeypatch.setattr(opened.images, "look", lambda *a: looked.append(a[2]) or look(*a))
    prompt = prompt_of(opened)
    option_scores(prompt, opened, rows[1])
    option_scores(prompt.with_instructions("Say what it is."), opened, rows[1])
    assert len(looked) == len(set(looked)) == 4


def test_a_model_that_is_followed_wrongly_is_scored_slowly(tmp_path, rows, monkeypatch):
    """The check on opening sees a position that is off by one, and the slow way answers."""
    from labelwright.engines.packed import packing

    folder = tiny_vision_folder(tmp_path / "model", "qwen2_vl")
    shifts = packing._shifts
    monkeypatch.setattr(packing, "_shifts", lambda row: shifts(row) + (row.seen is not None))
    engine = open_engine(Base(str(folder)), EngineSettings(dtype="float32", device="cpu"))
    assert engine.slow is score_batched
    images, texts = rows
    prompt = prompt_of(engine)
    plain = [reference(engine, prompt, *row) for row in zip(images, WORDS, strict=True)]
    np.testing.assert_allclose(option_scores(prompt, engine, texts), plain, atol=1e-4)


def test_a_recurrent_model_is_scored_by_what_it_keeps_of_a_row(tmp_path, rows):
    folder = tiny_vision_folder(tmp_path / "model", RECURRENT)
    engine = open_engine(Base(str(folder)), EngineSettings(dtype="float32", device="cpu"))
    assert engine.slow in (score_batched, score_cached)
    images, texts = rows
    prompt = prompt_of(engine)
    plain = [reference(engine, prompt, *row) for row in zip(images, WORDS, strict=True)]
    np.testing.assert_allclose(option_scores(prompt, engine, texts), plain, atol=1e-3)
    # Who only scores opens the same; nothing lean stands in for it, the second time as little as the first.
    for _ in range(2):
        again = open_engine(Base(str(folder)), EngineSettings(dtype="float32", device="cpu"), to_score=True)
        assert again.reads_images
        assert again.slow is engine.slow
    # A row of text behind one with an image is not read at the image's positions.
    text = Prompt.for_task(TASK, engine.template)
    alone = option_scores(text, engine, ["the pool is green"])
    option_scores(prompt, engine, texts[:1])
    np.testing.assert_array_equal(option_scores(text, engine, ["the pool is green"]), alone)


def test_a_way_that_is_wrong_is_not_taken(opened, monkeypatch):
    given = opened.model, opened.images, opened.template.image, opened.tokens.plain("the pump is loud and green")
    monkeypatch.setattr(check, "score_batched", lambda model, row, options: [0.0] * len(options))
    assert check.slow_way(*given) is score_cached
    monkeypatch.setattr(check, "score_cached", lambda *_: 1 / 0)
    assert check.slow_way(*given) is score_whole


def test_the_check_tells_one_image_from_another(opened):
    """Scores of the same rows with their images swapped are refused."""
    engine = opened

    def swapped(prefix, rows, tree, is_shared):
        seen = [image for _, image in rows][::-1] if len(rows) > 1 else [rows[0][1]]
        return engine._whole_scores(
            prefix, [(row, image) for (row, _), image in zip(rows, seen, strict=True)], tree, is_shared
        )

    tokens = engine.tokens.plain("the pump is loud and the water is green")
    given = engine.model, engine.images, engine.template.image, tokens
    check.check_images(*given, engine._whole_scores)
    with pytest.raises(ModelError, match="rows with images"):
        check.check_images(*given, swapped)


def test_it_writes_what_the_model_writes(opened, rows):
    prompts = prompt_of(opened).render_all(rows[1])
    assert [opened.generate([one], 5)[0] for one in prompts] == opened.generate(prompts, 5)
