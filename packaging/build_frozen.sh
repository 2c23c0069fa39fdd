#!/usr/bin/env bash
# Build dist/keras-transformer/, a folder that starts without Python, from an environment of its own; say its size.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# A copy: setuptools would leave build/ in the tree, and take stale files from one.
mkdir "$folder/tree"
cp -r desktop_app keras_transformer packaging pyproject.toml LICENSE README.md constraints.txt "$folder/tree"
"${PYTHON:-python3}" -m venv "$folder/venv"
cd "$folder/tree"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt '.[cpu,desktop]' pyinstaller
cd - >/dev/null
rm -rf dist/keras-transformer
"$folder/venv/bin/pyinstaller" --noconfirm --log-level WARN --distpath dist --workpath "$folder/work" \
  "$folder/tree/packaging/window.spec"
echo "dist/keras-transformer takes $(du -sm dist/keras-transformer | cut -f1) MB on disk"
