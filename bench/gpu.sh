#!/bin/bash
# What a GPU is wanted for, in one call: training of a model on generated stories with GPT-2's
# vocabulary, the same step by transformers in the same call, generation, then real TinyStories text.
#
#   bench/gpu.sh gpt_30m ../shared/data               400 million tokens
#   bench/gpu.sh modern_30m ../shared/data
#   TOKENS=4000 BATCH=1 bench/gpu.sh tiny ../shared/data    the same path on a CPU, in minutes
#
# TOKENS of generated stories; BATCH windows at once; WORDS more words for every training run.
set -euo pipefail
model=${1:?the first word is a model of conf/model, such as gpt_30m}
data=$(realpath "${2:?the second word is the folder with gpt2/ and tinystories/}")
tokens=${TOKENS:-400000000} batch=${BATCH:-32}
here=$(realpath "$(dirname "$0")/..")
python=${PYTHON:-$here/.venv/bin/python}
work=${WORK:-$(mktemp -d)}
export PYTHONPATH="$here/src:$here/bench${PYTHONPATH:+:$PYTHONPATH}"
read -r -a words <<<"${WORDS:-}"
words=("model=$model" "model.micro_batch_size=$batch" "${words[@]}")
stories=$((tokens / 170 + 1)) # a story has about that many GPT-2 tokens
cd "$work"

echo "== $model: $tokens tokens of generated stories"
generated=(dataset=stories tokenizer=gpt2 "tokenizer.path=$data/gpt2" "dataset.num_stories=$stories")
"$python" -m gpt_pipeline data "${words[@]}" "${generated[@]}"
time "$python" -m gpt_pipeline train "${words[@]}" "${generated[@]}" model.checkpoint_name=generated

echo "== $model: the step beside transformers"
"$python" "$here/bench/train.py" --model "$model" --batch "$batch" --rounds "${ROUNDS:-5}" \
	--steps "${STEPS:-20}" --only "${VARIANTS:-project,project_compiled,transformers,transformers_compiled}"

echo "== $model: generation, one at a time and up to ${MOST:-256} at once"
"$python" "$here/bench/generate.py" --model "$model" --tokens "${NEW:-200}" --rounds 3 \
	--batches 1 16 "${MOST:-256}" --only gpt-pipeline "transformers, bfloat16"

echo "== $model: real text"
real=(dataset=text "dataset.path=$data/tinystories/tinystories-train.txt"
	"dataset.val_path=$data/tinystories/tinystories-valid.txt" "model.num_epochs=${EPOCHS:-4}")
"$python" -m gpt_pipeline train "${words[@]}" "${real[@]}" model.checkpoint_name=real
"$python" -m gpt_pipeline evaluate model.checkpoint_name=real format=json
echo "checkpoints and run folders: $work"
