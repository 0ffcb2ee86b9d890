# Ends what runs this program in this root. No home is touched.
program=${DPKG_ROOT:-}{program}
running() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2>/dev/null) in
        "$program" | "$program (deleted)") ;;
        *) continue ;;
        esac
        # A container may have a program at the same path.
        if [ "$process/root" -ef / ]; then echo "${process#/proc/}"; fi
    done
}
end() {
    for pid in $(running); do kill "-$1" "$pid" 2>/dev/null || true; done
}
end TERM
# A daemon needs at most 4 s, a hub 15 s.
tries=160
while [ "$tries" -gt 0 ] && [ -n "$(running)" ]; do
    sleep 0.1
    tries=$((tries - 1))
done
end KILL
