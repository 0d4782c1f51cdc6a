"""The groups of the schema about text: where it comes from, and how it becomes token ids."""

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
    """visit the training windows in a seeded random order, else in the order of the file"""
    num_workers: Whole | None
    """processes that prepare token files; null: one per core; 0: none besides the command itself"""
    adopt: PathText | None
    """bare uint16 GPT-2 token file, or folder with train.bin, of nanoGPT or upstream to use"""


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
    """How text becomes token ids."""

    name: Literal["gpt2", "bpe", "bytes"]
    """gpt2: the published one; bpe: trained on the training text; bytes: one token a byte"""
    vocab_size: Count | None
    """entries to train (bpe); null: what the tokenizer has"""
    path: PathText | None
    """folder with vocab.json and merges.txt, or a tokenizer.json; null: gpt2 comes from the hub"""
    train_bytes: Count
    """read at most this much training text to train bpe"""
