"""Contrastive pairs as in SetFit: an encoder for few rows a label."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression

from baselines.base import Rows, TextClassifier
from baselines.tuning import finished, fit_head, model_folder_of, open_network, own_random_state
from labelwright.errors import MissingExtraError, RecipeError
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import DEFAULT
from labelwright.predictors.finetuned import FineTuned
from labelwright.reading import no_progress_bar


class PairsClassifier(TextClassifier):
    """SetFit (Tunstall et al. 2022, arXiv:2209.11055) through its own library, for few rows a label.

    The encoder learns cosine 1 for two rows of one label and 0 for two of different ones; the head is a logistic
    regression on its vectors.

    Parameters
    ----------
    model : str
        "minilm", or a folder or Hugging Face id of an encoder.
    n_pairs : int
        Pairs of each kind drawn a row; 0 only fits the head.
    max_pairs : int
        In all; bounds the time where there are many rows.
    learning_rate : float
    batch_pairs : int
    max_tokens : int
        Longer texts lose their end.
    device, dtype : str
        As in ``FineTunedClassifier``.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        n_pairs: int = 1,
        max_pairs: int = 2000,
        learning_rate: float = 3e-5,
        batch_pairs: int = 16,
        max_tokens: int = 256,
        device: str = "auto",
        dtype: str = "auto",
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.n_pairs = n_pairs
        self.max_pairs = max_pairs
        self.learning_rate = learning_rate
        self.batch_pairs = batch_pairs
        self.max_tokens = max_tokens
        self.device = device
        self.dtype = dtype
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> FineTuned:
        for name in ("n_pairs", "max_pairs", "learning_rate", "batch_pairs", "max_tokens"):
            if getattr(self, name) <= 0:
                raise RecipeError(f"{name} = {getattr(self, name)}: expected a number above 0")
        with own_random_state(self.random_state):
            fitted, stored = open_network(
                self.model, "mean", len(rows.classes), self.max_tokens, device=self.device, dtype=self.dtype
            )
            fitted.long_texts = rows.long_texts
            fitted.tokens(rows.texts)
            fitted.long_texts = LongTexts("head" if rows.long_texts.how == "refuse" else rows.long_texts.how)
            self._tune(fitted, rows)
            finished(fitted, stored)
            fit_head(fitted, rows)
        return fitted

    def _tune(self, fitted: FineTuned, rows: Rows) -> None:
        """Train the network's transformer in place."""
        try:
            import setfit
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer import modules
        except ImportError as error:
            raise MissingExtraError(
                'contrastive pairs need setfit: pip install "labelwright[setfit]", or take encoder-pairs off the recipe'
            ) from error
        from transformers import ProgressCallback

        # It announces every training on stderr.
        setfit.logging.set_verbosity_warning()
        compute = fitted.compute
        with tempfile.TemporaryDirectory() as scratch, no_progress_bar():
            transformer = modules.Transformer(
                str(model_folder_of(self.model)),
                max_seq_length=fitted.tokens.max_tokens,
                model_kwargs={"dtype": torch.float32, "trust_remote_code": False},
                processor_kwargs={"trust_remote_code": False},
                config_kwargs={"trust_remote_code": False},
            )
            # As the tokens of ``FineTuned``: no row can forge markup.
            transformer.tokenizer.split_special_tokens = True
            pooling = modules.Pooling(transformer.get_embedding_dimension(), "mean")
            body = SentenceTransformer(
                modules=[transformer, pooling], device=str(fitted.device), trust_remote_code=False
            )
            arguments = setfit.TrainingArguments(
                output_dir=scratch,
                batch_size=self.batch_pairs,
                num_iterations=self.n_pairs,
                max_steps=-(-min(self.max_pairs, 2 * self.n_pairs * len(rows.texts)) // self.batch_pairs),
                body_learning_rate=self.learning_rate,
                seed=self.random_state,
                save_strategy="no",
                report_to="none",
                show_progress_bar=False,
            )
            trainer = setfit.Trainer(setfit.SetFitModel(body, LogisticRegression()), arguments)
            trainer.st_trainer.remove_callback(ProgressCallback)
            with torch.autocast(fitted.device.type, dtype=compute, enabled=compute != torch.float32):
                trainer.train_embeddings(rows.texts, rows.gold.tolist(), args=arguments)
        fitted.network.model = transformer.auto_model
