"""The groups of the schema about text: where it comes from, and how it becomes token ids."""

from typing import Annotated, Literal

from pydantic import Field

from gpt_pipeline.section import Count, FileName, NotEmpty, PathText, Section, Whole


class DatasetConfig(Section):
    """Where the text comes from and how it becomes token files."""

    source: Literal["stories", "text", "tinystories"]
    """where the text comes from: the generator, files, or the hub"""
    name: FileName
    """folder of the token files under data_dir"""
    path: PathText | None
    """text to train on: a text, .jsonl or .parquet file, a folder or a glob of them"""
    val_path: PathText | None
    """text to validate on; without it train_ratio splits path by document"""
    separator: Literal["auto", "endoftext", "endoftext_anywhere", "blank_line", "none"]
    """what ends a document in text; auto: <|endoftext|> lines if any, else blank lines"""
    text_field: NotEmpty
    """field of a .jsonl line or column of a .parquet file that holds the text"""
    hub_id: PathText
    """data set on the Hugging Face hub (dataset=tinystories)"""
    num_stories: Count
    """stories to generate for training (dataset=stories)"""
    num_val_stories: Count
    """stories to generate for validation (dataset=stories)"""
    seed: Whole
    """seed of the generated stories, and of the split by train_ratio"""
    data_dir: PathText
    """folder of all token files"""
    train_ratio: Annotated[float, Field(gt=0, le=1)]
    """share of the documents to train on when there is no validation text; 1: no validation"""
    train_shuffle: bool
    """visit the training windows in a seeded random order, else in the order of the file"""
    num_workers: Whole | None
    """processes that prepare token files; null: one a core, 0: none beside the command itself"""
    adopt: PathText | None
    """bare uint16 GPT-2 token file, or folder with train.bin, of nanoGPT or upstream to use"""


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
