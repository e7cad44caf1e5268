#!/usr/bin/env bash
# The paper's claim in the small: bash runs/schemes.sh DATA WORK [PLAN]
#
# Data       DATA/tiny21k.tar (a tar of class tars, 64 px, with WordNet ids), DATA/cifar100.tar (train/ and test/ with
#            class folders), DATA/voc2007.tar (labels.csv and JPEGImages/). Any datasets by argument: prepare your
#            own as WORK/tiny21k, WORK/cifar100 and WORK/voc2007 beforehand; what is there is not made again.
# Does       three schemes (and two weightings of semantic softmax), three seeds, equal budgets; transfer of each
# Takes      about an hour on one core (15 pretrainings of 110 s; 60 transfers of 2 to 45 s, measured under load)
# Result     WORK/schemes/comparison.html; docs/schemes.md has what came of it
# Stopped    the same command goes on
set -euo pipefail
data=$1 work=$2 here=$(cd "$(dirname "$0")" && pwd)
plan=${3:-$here/schemes.yaml}
mkdir -p "$work"

dataset() {  # NAME SOURCE OPTIONS: prepared and given its tree, unless it is there
  local name=$1 source=$2
  shift 2
  [ -e "$work/$name/dataset.json" ] || hypernym prepare "$source" "$work/$name" --duplicates ignore --resume "$@"
}

tree() {
  [ -e "$work/$1/tree.json" ] || hypernym tree build "$work/$1" "${@:2}"
}

unpack() {
  [ -d "$work/source/$1" ] || { mkdir -p "$work/source/.$1" && tar -xf "$data/$1.tar" -C "$work/source/.$1" &&
    mv "$work/source/.$1" "$work/source/$1"; }
}

dataset tiny21k "$data/tiny21k.tar" --min-images 40 --val-per-class 10 --size 64
tree tiny21k

unpack cifar100
dataset cifar100 "$work/source/cifar100" --min-images 20 --val-per-class 0 --size 32 --quality 100
tree cifar100 --taxonomy "$here/../docs/examples/cifar100.csv"

unpack voc2007
awk -F, 'NR == 1 { for (i = 4; i <= NF; i++) name[i] = $i; print "path,label,split"; next }
  { labels = ""; for (i = 4; i <= NF; i++) if ($i == 1) labels = labels (labels == "" ? "" : ";") name[i]
    if (labels != "") print "JPEGImages/" $1 ".jpg," labels "," ($2 == "test" ? "test" : "train") }' \
  "$work/source/voc2007/labels.csv" > "$work/source/voc2007/list.csv"
dataset voc2007 "$work/source/voc2007/list.csv" --min-images 2 --val-per-class 0 --size 128 --resize short-edge
tree voc2007 --taxonomy "$here/voc.csv"

cp "$plan" "$work/plan.yaml"
hypernym compare "$work/plan.yaml" --out "$work/$(basename "$plan" .yaml)"
