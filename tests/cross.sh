#!/usr/bin/env bash
# Compiles everything for other systems, and runs the tests as Windows programs under wine.
#
#   tests/cross.sh                    all three parts
#   tests/cross.sh check [TARGET…]    compile the library, the program and its tests, without linking
#   tests/cross.sh wine [ARGS…]       build for Windows and run under wine; ARGS go to `cargo test`
#                                     and replace the default choice of tests
#   tests/cross.sh poll [ARGS…]       run the library's tests on this system over poll(2), mio's back
#                                     end for systems without epoll and kqueue; ARGS as above
#
# A target's standard library comes from rustup, if rustup has it or can fetch it. Otherwise, on Debian
# for amd64, Debian's own compiler builds it from source. Installed versions of mingw-w64 and wine are
# used. Missing tools are unpacked from Debian's packages into a folder, because installing these
# packages would replace others.
#
# CLOSECALL_CROSS_CACHE   that folder, 1 to 2 GB; ~/.cache/closecall-cross if not set
# CARGO_TARGET_DIR        where cargo builds, 3 GB more; target/ if not set
#
# Exit code: 0 everything passed, 1 a part failed, 77 nothing failed but a part was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

WINDOWS=x86_64-pc-windows-gnu
CHECKED=(
    "$WINDOWS"
    x86_64-apple-darwin
    aarch64-apple-darwin
    x86_64-unknown-freebsd
    aarch64-unknown-linux-gnu
)

# Checked in the library only: the program makes no promise there.
CHECKED_IN_LIBRARY=(
    x86_64-unknown-netbsd
    x86_64-unknown-illumos
)

ALL_CHECKED=("${CHECKED[@]}" "${CHECKED_IN_LIBRARY[@]}")

# The library, the library with the simulated kernel, the library with its features for other
# programs, and the program with all of its tests.
LIBRARY=(
    "--lib --no-default-features"
    "--lib --no-default-features --features simulation"
    "--lib --no-default-features --features serde,tokio"
)
PARTS=("${LIBRARY[@]}" "--all-targets")

# The tests that hold on every system. In these, each test that wine cannot run is ignored, with the
# reason. Not included: `closing` and `alone`, which compare facts that only Linux reports (SIOCOUTQ,
# TCP_INFO) with resets, which wine does not send; and whole files for Linux or Unix, which are not
# compiled here.
RUN=(--lib --test simulation --test server)
OVER_POLL=(--lib --test server)

cache=${CLOSECALL_CROSS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/closecall-cross}
root=$cache/root
export CARGO_TERM_COLOR=never WINEDEBUG=${WINEDEBUG:--all}
failed=() skipped=()

say() { printf '\n== %s\n' "$*"; }
skip() {
    printf 'skipped: %s\n' "$*"
    skipped+=("$*")
}

# Runs a command under a name, and records the name if it fails.
attempt() {
    say "$1"
    "${@:2}" || failed+=("$1")
}

# Unpacks Debian packages and their dependencies that are not installed.
unpack() {
    command -v apt-get >/dev/null && [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || return
    local packages archive
    packages=$(apt-get install -s --no-install-recommends "$@" 2>/dev/null |
        sed -n 's/^Inst \([^ ]*\).*/\1/p')
    [ -n "$packages" ] || return
    mkdir -p "$cache/packages" "$root"
    # shellcheck disable=SC2086 # it is a list
    (cd "$cache/packages" && apt-get download -q $packages 2>/dev/null) || return
    for archive in "$cache"/packages/*.deb; do
        dpkg -x "$archive" "$root" || return
    done
    rm -r "$cache/packages"
}

# Writes a program that runs another with the unpacked libraries.
wrap() { # NAME COMMAND…
    mkdir -p "$cache/bin"
    {
        echo '#!/bin/sh'
        echo "LD_LIBRARY_PATH='$root/usr/lib/x86_64-linux-gnu' exec ${*:2} \"\$@\""
    } >"$cache/bin/$1"
    chmod +x "$cache/bin/$1"
}

# The compiler that Debian has for browsers is newer than its standard one. It comes without the
# libraries of other targets, but with their sources. To build these, cargo must treat the compiler as a
# nightly.
have_debian_compiler() {
    [ -x "$root/usr/bin/rustc" ] ||
        { unpack rustc-web libstd-rust-web-dev rust-web-src && [ -x "$root/usr/bin/rustc" ]; } ||
        return
    wrap rustc "'$root/usr/bin/rustc' --sysroot '$root/usr'"
}

# Sets $cargo to the cargo command for a target, and $lints and $strict to its check: clippy with
# warnings as errors, or a plain check with Debian's compiler. Fails if there is no compiler.
choose_compiler() {
    local target=$1 library
    cargo=(cargo) lints=(clippy) strict=(-- -D warnings)
    library=$(rustc --print target-libdir --target "$target" 2>/dev/null) || library=/nowhere
    compgen -G "$library/libstd-*.rlib" >/dev/null && return
    if command -v rustup >/dev/null && timeout 300 rustup -q target add "$target" 2>/dev/null; then
        return
    fi
    have_debian_compiler || return
    cargo=(env RUSTC_BOOTSTRAP=1 "RUSTC=$cache/bin/rustc" cargo -Zbuild-std)
    lints=(check) strict=()
}

# A check does not link, so the one C file among the dependencies of the tests needs no C compiler.
without_c() {
    local target=${1//-/_}
    env "CC_$target=true" "AR_$target=true" "${@:2}"
}

check() {
    local target part parts
    for target in "$@"; do
        parts=("${PARTS[@]}")
        [[ " ${CHECKED_IN_LIBRARY[*]} " != *" $target "* ]] || parts=("${LIBRARY[@]}")
        if ! choose_compiler "$target"; then
            skip "$target: rustup has no library for it, and there is no Debian compiler"
            continue
        fi
        for part in "${parts[@]}"; do
            # shellcheck disable=SC2086 # it is a list
            attempt "$target: $part" without_c "$target" \
                "${cargo[@]}" "${lints[@]}" --locked --target "$target" $part "${strict[@]}"
        done
    done
}

# Finds mingw's gcc, which links.
have_linker() {
    local tool
    command -v x86_64-w64-mingw32-gcc >/dev/null && return
    [ -x "$root/usr/bin/x86_64-w64-mingw32-gcc-win32" ] || unpack gcc-mingw-w64-x86-64-win32 ||
        return
    mkdir -p "$cache/bin"
    for tool in "$root"/usr/bin/x86_64-w64-mingw32-*; do
        tool=${tool##*/}
        ln -sf "../root/usr/bin/$tool" "$cache/bin/${tool%-win32}"
    done
    PATH=$PATH:$cache/bin
}

# Writes $cache/bin/run-windows, which runs wine with its own prefix. Before version 9, wine lacks one
# function that every Rust program calls: ProcessPrng, for random bytes.
have_wine() {
    local wine zlib
    wine=$(command -v wine64 || command -v wine || true)
    if [ -z "$wine" ]; then
        wine=$root/usr/lib/wine/wine64
        [ -x "$wine" ] || unpack wine64 || return
        ln -sf wineserver64 "$root/usr/lib/wine/wineserver" # the package's own link points to /usr
    fi
    wrap run-windows "'$wine'"
    export WINEPREFIX=$cache/prefix
    local system=$WINEPREFIX/drive_c/windows/system32
    [ -d "$system" ] || "$cache/bin/run-windows" wineboot >/dev/null 2>&1 || true # creates the prefix
    [ -d "$system" ] || return
    zlib=$root/usr/x86_64-w64-mingw32/lib/zlib1.dll # an unpacked mingw does not find it
    [ ! -e "$zlib" ] || cp "$zlib" "$system" || return
    "$cache/bin/run-windows" cmd /c exit >/dev/null 2>&1 || return
    [ -e "$system/bcryptprimitives.dll" ] && return
    x86_64-w64-mingw32-gcc -shared -x c - -o "$system/bcryptprimitives.dll" -ladvapi32 <<'C'
int __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *bytes, unsigned long long count) {
    return SystemFunction036(bytes, count);
}
C
}

run_under_wine() {
    if ! choose_compiler "$WINDOWS"; then
        skip "wine: rustup has no library for $WINDOWS, and there is no Debian compiler"
    elif ! have_linker; then
        skip "wine: no x86_64-w64-mingw32-gcc (on Debian: gcc-mingw-w64-x86-64)"
    elif ! have_wine; then
        skip "wine: no wine64, or it does not start"
    else
        export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
        export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$cache/bin/run-windows
        export CARGO_PROFILE_DEV_DEBUG=line-tables-only # a third of the disk space
        attempt "under wine: $*" "${cargo[@]}" test --locked --no-fail-fast --target "$WINDOWS" "$@"
    fi
}

# mio offers its poll(2) back end on every system, for tests. What the kernel module promises must hold
# there too. Tests that need an edge that only epoll reports (the second HUP) are not run.
run_over_poll() {
    attempt "over poll(2): $*" env RUSTFLAGS="${RUSTFLAGS-} --cfg mio_unsupported_force_poll_poll" \
        CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/poll" \
        cargo test --locked --no-fail-fast --no-default-features --features simulation "$@"
}

case ${1-} in
    check) shift && check "${@:-${ALL_CHECKED[@]}}" ;;
    wine) shift && run_under_wine "${@:-${RUN[@]}}" ;;
    poll) shift && run_over_poll "${@:-${OVER_POLL[@]}}" ;;
    "") check "${ALL_CHECKED[@]}" && run_under_wine "${RUN[@]}" && run_over_poll "${OVER_POLL[@]}" ;;
    *) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" && exit 2 ;;
esac

say "result"
for name in "${failed[@]}"; do echo "failed: $name"; done
for reason in "${skipped[@]}"; do echo "skipped: $reason"; done
[ ${#failed[@]} -eq 0 ] || exit 1
[ ${#skipped[@]} -eq 0 ] || exit 77
echo "nothing failed, nothing was skipped"
