"""The sections `dataset` and `tokenizer`: the source of the text, and how it is tokenized."""

from typing import Annotated, Literal

from pydantic import Field

from gpt_pipeline.section import Count, FileName, NotEmpty, PathText, Section, Whole


class DatasetSection(Section):
    """The keys that all sources share."""

    source: str
    """where the text comes from"""
    name: FileName
    """folder of the token files in dataset.data_dir"""
    val_path: PathText | None
    """validation text: a file, folder or glob, as dataset.path; null: see dataset.train_ratio"""
    separator: Literal["auto", "endoftext", "endoftext_anywhere", "blank_line", "none"]
    """what ends a document in text; auto: <|endoftext|> lines if any, else blank lines"""
    text_field: NotEmpty
    """field of a .jsonl line or column of a .parquet file that holds the text"""
    seed: Whole
    """seed of the generated stories, and of the split by dataset.train_ratio"""
    data_dir: PathText
    """folder of all token files"""
    train_ratio: Annotated[float, Field(gt=0, le=1)] | None
    """share of the documents to train on, the rest is validation text; 1: no validation; null: the
    validation text of the source, or 0.9 if it has none
    """
    train_shuffle: bool
    """read the training windows in a seeded random order, else in the order of the file"""
    num_workers: Whole | None
    """worker processes that prepare token files; null: one per core; 0: none"""
    adopt: PathText | None
    """existing uint16 GPT-2 token file, or folder with train.bin, as nanoGPT writes them"""


class StoriesConfig(DatasetSection):
    """Stories of the project's own generator."""

    source: Literal["stories"]
    """stories: the generator"""
    num_stories: Count
    """stories to generate; all of them are training text unless dataset.train_ratio is given"""
    num_val_stories: Count
    """further stories to generate as validation text unless dataset.train_ratio is given"""


class TextConfig(DatasetSection):
    """Files on this machine."""

    source: Literal["text"]
    """text: files"""
    path: PathText | None
    """training text: a text, .jsonl or .parquet file, a folder or a glob of them"""


class HubConfig(DatasetSection):
    """A data set on the Hugging Face hub."""

    source: Literal["tinystories"]
    """tinystories: the Hugging Face hub"""
    hub_id: PathText
    """data set on the Hugging Face hub"""


DatasetConfig = Annotated[StoriesConfig | TextConfig | HubConfig, Field(discriminator="source")]
"""The keys of the group `dataset`: `source` decides which of the classes checks them."""


class TokenizerConfig(Section):
    """How text is tokenized."""

    name: Literal["gpt2", "bpe", "bytes"]
    """gpt2: GPT-2's; bpe: trained on the training text; bytes: one token per byte"""
    vocab_size: Count | None
    """size of the vocabulary to train (tokenizer=bpe); null: that of the tokenizer"""
    path: PathText | None
    """folder with GPT-2's vocab.json and merges.txt, or tokenizer.json; null: download them"""
    train_bytes: Count
    """maximum bytes of training text to train on (tokenizer=bpe)"""
