#!/bin/sh
# Finds the EICAR test file in objects of up to 1 MiB, with what the shell can do by itself: it can start no program.
set -eu
if [ "${1-}" = --version ]; then
    echo 'eicar-sh 1.0'
    exit
fi
mark='X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR''-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'
seen=0
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    *"$mark"*) echo '{"verdict":"infected","signature":"Eicar-Test"}'; exit ;;
    esac
    seen=$((seen + ${#line} + 1))
    if [ $seen -gt 1048576 ]; then
        echo '{"verdict":"held","reason":"scan-limits","detail":"more than 1 MiB"}'
        exit
    fi
done
echo '{"verdict":"clean"}'
