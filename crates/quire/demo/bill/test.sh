#!/bin/sh
# Runs bill.awk on each cases/NAME.in and compares what it says with cases/NAME.out.
LC_ALL=C
export LC_ALL
passed=0 all=0
for case in cases/*.in; do
    name=$(basename "$case" .in)
    all=$((all + 1))
    said=$(awk -f bill.awk "$case")
    if [ "$said" = "$(cat "cases/$name.out")" ]; then
        passed=$((passed + 1))
    else
        echo "FAIL $name"
        echo "  expected: $(tail -n 1 "cases/$name.out")"
        echo "  said:     $(echo "$said" | tail -n 1)"
    fi
done
echo "$passed of $all pass"
[ "$passed" = "$all" ]
