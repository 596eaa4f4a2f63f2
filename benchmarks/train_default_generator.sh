#!/usr/bin/env bash
# The shipped generator from nothing: about two hours and a half on two cores.
#   benchmarks/train_default_generator.sh ../shared/data/Dataset901_SoftTissueSarcoma runs/default
# Run it again after an interruption: every step continues where it was.
set -euo pipefail
dataset=$1
runs=$2
here=$(dirname "$0")

if [ ! -f "$runs/data/manifest.jsonl" ]; then
    rm -rf "$runs/data"
    python "$here/default_training_data.py" --data "$dataset" --out "$runs/data" --per-real-case 90 --phantoms 38
fi

textomorph train autoencoder --data "$runs/data/manifest.jsonl" --out "$runs/autoencoder" --cache "$runs/cache" \
    --steps 1300 --batch 6 --crop 32 --learning-rate 8e-4 --checkpoint-every 100 --sheet-every 200 --resume

# two processes of one thread each get through more windows than one of two threads
OMP_NUM_THREADS=1 accelerate launch --cpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
    -m nnunet_textomorph.cli train diffusion \
    --data "$runs/data/manifest.jsonl" --autoencoder "$runs/autoencoder" --out "$runs/diffusion" \
    --cache "$runs/cache" --steps 2800 --learning-rate 6e-4 --sheet-every 500 --checkpoint-every 100 --resume \
    --licence "Apache-2.0; attribution of the CT data as named under data (CC BY 3.0)" \
    --data-note "Dataset901: 18 of the 24 CT of the IBSI validation set, from TCIA Soft-tissue-Sarcoma, Vallieres et al. 2015, doi 10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0; and procedural phantoms; lesions of known descriptors drawn into both"

mkdir -p "$here/../generator/default"
cp "$runs/diffusion/generator.json" "$runs/diffusion/model.safetensors" "$here/../generator/default/"
