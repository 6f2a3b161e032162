# Sourced: start_lmod brings the function `module` into this shell; false where there is no Lmod.
start_lmod() {
  local init
  for init in "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" /usr/share/lmod/*/init/bash; do
    if [[ -f $init ]]; then
      unset MODULEPATH LOADEDMODULES _LMFILES_
      set +eu  # modules are shell functions that bring neither
      source "$init"
      return 0
    fi
  done
  return 1
}
