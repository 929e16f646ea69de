#!/bin/sh
# A release of several components by hand: the commands that Interlock runs, in the best order that they allow.
# It has no policy, no canary and no evidence, and believes every answer. COMPONENTS, SOURCE, ENVIRONMENTS, REGISTRY,
# TRIVY, CACHES and MANIFESTS come from its environment; it leaves its files where it is started.
set -eu

trivy() { command=$1 cache=$2; shift 2
  "$TRIVY" "$command" --quiet --cache-dir "$CACHES/$cache" --format json --skip-version-check --exit-code 0 "$@"; }
without_updates="--skip-db-update --skip-java-db-update --offline-scan"

# Waits for what was begun, and fails when one of them did.
both() { for begun in "$@"; do wait "$begun"; done; }

component() {
  name=$1 image=$REGISTRY/$1:$commit
  docker build --quiet --network none --tag "$image" "source/$name" >/dev/null
  docker run --rm --network none --read-only --tmpfs /tmp --entrypoint python "$image" -m tests.run 2>"$name.tests" &
  tests=$!
  docker save --output "$name.tar" "$image"
  # shellcheck disable=SC2086
  trivy image "$name" $without_updates --scanners vuln,secret --list-all-pkgs \
    --image-config-scanners secret --input "$name.tar" >"$name.json"
  "$TRIVY" convert --quiet --format cyclonedx "$name.json" >"$name.cdx.json" &
  cyclonedx=$!
  "$TRIVY" convert --quiet --format spdx-json "$name.json" >"$name.spdx.json" &
  both $tests $cyclonedx $!
  docker push --quiet "$image" >"$name.pushed"
  docker image inspect --format '{{index .RepoDigests 0}}' "$image" >"$name.digest"
}

git clone --quiet --depth 1 "$SOURCE" source &
source=$!
git clone --quiet --depth 1 "$ENVIRONMENTS" environments &
both $source $!
commit=$(git -C source rev-parse HEAD)

# shellcheck disable=SC2086
trivy fs source $without_updates --scanners vuln,secret,misconfig --list-all-pkgs --include-dev-deps \
  source >source.json &
begun=$!
trivy config source "$MANIFESTS" >manifests.json &
begun="$begun $!"
for each in $COMPONENTS; do
  component "$each" &
  begun="$begun $!"
done
# shellcheck disable=SC2086
both $begun

for each in $COMPONENTS; do
  printf '%s: {image: "%s", commit: %s}\n' "$each" "$(cat "$each.digest")" "$commit"
done >environments/release.yaml
git -C environments add release.yaml
git -C environments commit --quiet --message "Release $commit"
git -C environments push --quiet
