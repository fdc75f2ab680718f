# Adds up a bill: NAME QUANTITY PRICE on each line. Works in whole cents, so that a long bill adds up exactly.

function money(cents) {
    return sprintf("%.2f", cents / 100)
}

NF == 3 {
    cents = int($3 * 100)
    sum = $2 * cents
    print $1, money(sum)
    total += sum
}

END {
    print "total", money(total)
}
