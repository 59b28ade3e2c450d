#!/usr/bin/env bash
# Prepare a bare EMR node: install the pinned Python packages from wheels in S3, no internet needed.
# Usage (bootstrap action): bootstrap.sh PYTHON WHEELHOUSE_URI REQUIREMENTS_URI
set -euo pipefail

# Where the jobs' temporary files go (TMPDIR in spark-env): the large volume, open to every step's user.
sudo install -d -m 1777 /mnt/tmp

python=$1 wheelhouse=$2 requirements=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

aws s3 cp --only-show-errors "$requirements" "$work/requirements.txt"
aws s3 cp --only-show-errors --recursive "${wheelhouse%/}/$(uname -m)/" "$work/wheels/"
if ! ls "$work"/wheels/*.whl >/dev/null 2>&1; then
  echo "no wheels below ${wheelhouse%/}/$(uname -m)/: run 'make wheelhouse' and upload it" >&2
  exit 1
fi
# implicit's wheels load the system's OpenMP, which the image does not always carry.
ldconfig -p | grep -q libgomp || sudo dnf install -y -q libgomp
sudo "$python" -m ensurepip --upgrade >/dev/null
sudo "$python" -m pip install --quiet --no-index --find-links "$work/wheels" --requirement "$work/requirements.txt"
"$python" -c "import implicit, numpy, pyarrow, pydantic; print('ready:', implicit.__version__, numpy.__version__)"
