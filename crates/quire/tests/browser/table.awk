# The page's must-haves as a table, from what cargo test says of the tests `sec_NN`, and the budgets that one of them measured.
# A test that covers several names them all: `sec_09_10_...`. Fails where a row failed, or has no test.
BEGIN { later[12] = "pointing at the page" }
/^test .*sec_[0-9].* \.\.\. / {
    words = $2
    sub(/.*sec_/, "", words)
    outcome = $NF == "ok" ? "holds" : $NF
    if (outcome != "holds") bad = 1
    delete rows
    count = 0
    while (match(words, /^[0-9][0-9]_/)) { rows[count++] = substr(words, 1, 2) + 0; words = substr(words, 4) }
    gsub(/_/, " ", words)
    for (n = 0; n < count; n++) table[rows[n]] = table[rows[n]] sprintf("| %02d | %s | %s |\n", rows[n], words, outcome)
}
/^\| / { if ($2 != "budget") budgets = budgets $0 "\n" }
/panicked at|^error/ { print }
END {
    print "| row | what | outcome |\n|---|---|---|"
    for (row = 1; row <= 20; row++) {
        if (row in table) printf "%s", table[row]
        else if (row in later) printf "| %02d | %s | not there yet |\n", row, later[row]
        else { printf "| %02d | | no test |\n", row; bad = 1 }
    }
    if (budgets != "") printf "\n| budget | measured | limit |\n|---|---|---|\n%s", budgets
    exit bad
}
