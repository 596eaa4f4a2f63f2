#!/usr/bin/env bash
# A generator of the shipped one's kind from nothing: about 12 minutes on one GPU with 16 cores (it began on an H200; what
# the shipped one was trained on since is in its model card).
#   benchmarks/train_default_generator.sh ../shared/data/Dataset901_SoftTissueSarcoma runs/default
# Run it again after an interruption: the two trainings continue where they were.
set -euo pipefail
dataset=$1
runs=$2
here=$(dirname "$0")
cores=$(nproc)

if [ ! -f "$runs/data/manifest.jsonl" ]; then
    rm -rf "$runs/data"
    python "$here/default_training_data.py" --data "$dataset" --out "$runs/data" --per-real-case 250 --phantoms 80 \
        --jobs "$cores"
fi

textomorph train autoencoder --data "$runs/data/manifest.jsonl" --out "$runs/autoencoder" --cache "$runs/cache" \
    --steps 1679 --batch 32 --crop 48 --learning-rate 8e-4 --workers "$cores" --resume

textomorph train diffusion --data "$runs/data/manifest.jsonl" --autoencoder "$runs/autoencoder" \
    --out "$runs/diffusion" --cache "$runs/cache" --steps 2950 --batch 96 --learning-rate 8e-4 --views 2 \
    --workers "$cores" --resume \
    --licence "Apache-2.0; attribution of the CT data as named under data (CC BY 3.0)" \
    --data-note "Dataset901: 18 of the 24 CT of the IBSI validation set, from TCIA Soft-tissue-Sarcoma, Vallieres et al. 2015, doi 10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0; and procedural phantoms; lesions of known descriptors drawn into both"

rm -rf "$runs/taught"
python "$here/teach_wordings.py" --generator "$runs/diffusion" --out "$runs/taught"

textomorph train distillation --data "$runs/data/manifest.jsonl" --generator "$runs/taught" --out "$runs/distilled" \
    --cache "$runs/cache" --trajectories 3200 --steps 2400 --batch 16 --mixed-precision bf16 --workers "$cores" --resume

mkdir -p "$here/../generator/default"
cp "$runs/distilled/"{generator.json,model.safetensors,distilled.safetensors} "$here/../generator/default/"
