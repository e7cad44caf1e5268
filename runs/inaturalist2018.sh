#!/usr/bin/env bash
# iNaturalist 2018: bash runs/inaturalist2018.sh SOURCE DATASET [MODEL OUT]
#
# Files      github.com/visipedia/inat_comp, 2018: train_val2018.tar.gz, not unpacked; and, unpacked,
#            train2018.json, val2018.json, categories.json (the names, undisguised). All in SOURCE.
# Terms      non-commercial research and education; images are not to be passed on
# Classes    8,142; 437,513 train images, 24,426 test (the published val)
# Metric     top-1 on the test split
# Published  ViT-B/16 73.1, Mixer-B/16 66.6 (from official 21K weights: 71.7, 62.2). The table says
#            iNaturalist; that it is 2018 is taken here.
set -euo pipefail
hypernym prepare "$1" "$2" --min-images 2 --val-per-class 1 --duplicates ignore
hypernym tree build "$2" --taxonomy "$1/categories.json"
if [ $# -gt 2 ]; then
  hypernym transfer "$3" "$2" "$4"
fi
