#!/bin/sh
# Is index.html right? Every figure must be what visits.csv adds up to, and every link must lead somewhere.
LC_ALL=C
export LC_ALL
wrong=0
say() { echo "wrong: $*"; wrong=1; }

[ -f index.html ] || { say "there is no index.html"; exit 1; }

# One line for each figure: what it is called on the page, and the number.
figures() {
    awk -F, 'NR > 1 { things++; minutes += $5; kinds[$3]++ } NR > 1 && $4 == "repaired" { repaired++ }
        END {
            print "things came in," things; print "repaired," repaired; print "hours of work," int(minutes / 60)
            for (kind in kinds) print kind "," kinds[kind]
        }' visits.csv
}
for figure in $(figures | tr ' ' '_'); do
    name=$(echo "${figure%,*}" | tr '_' ' ')
    number=${figure#*,}
    grep "$name" index.html | grep -q ">$number<" || say "the page does not say $number for \"$name\""
done

for link in $(grep -o 'href="[^"]*"' index.html | cut -d'"' -f2); do
    case $link in
        '#'*) grep -q "id=\"${link#?}\"" index.html || say "$link leads nowhere" ;;
        mailto:*@*.*) ;;
        *:*) say "$link is not in this folder" ;;
        *) [ -f "$link" ] || say "$link is not there" ;;
    esac
done

[ $wrong = 0 ] && echo "$(figures | wc -l | tr -d ' ') figures and $(grep -o 'href=' index.html | wc -l | tr -d ' ') links are right"
exit $wrong
