//! The programs, and the work that each is given. A script runs in an empty folder, ends at its first failure, and must say
//! `shows`.

pub struct Row {
    pub name: &'static str,
    pub does: &'static str,
    /// Debian's packages.
    pub packages: &'static [&'static str],
    pub script: &'static str,
    pub shows: &'static str,
}

const fn row(
    name: &'static str,
    does: &'static str,
    packages: &'static [&'static str],
    script: &'static str,
    shows: &'static str,
) -> Row {
    Row { name, does, packages, script, shows }
}

pub const ROWS: &[Row] = &[
    row(
        "Python",
        "makes a virtual environment and pip installs a package from PyPI and a wheel of its own into it",
        &["python3-venv"],
        r#"/usr/bin/python3 -m venv v; . v/bin/activate
           python - <<'E'
import zipfile
with zipfile.ZipFile('mine-1.0-py3-none-any.whl', 'w') as w:
    w.writestr('mine.py', 'def word(): return "from a wheel"')
    w.writestr('mine-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n')
    w.writestr('mine-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    w.writestr('mine-1.0.dist-info/RECORD', '')
E
           pip install -q --disable-pip-version-check --no-cache-dir ./mine-1.0-py3-none-any.whl six
           python -c 'import mine, six; print(mine.word(), six.PY3)'"#,
        "from a wheel True",
    ),
    row(
        "pip",
        "installs a package from PyPI into the system's Python",
        &["python3-pip"],
        "/usr/bin/pip3 install -q --break-system-packages --no-cache-dir idna; /usr/bin/python3 -c 'import idna; print(idna.__file__)'",
        "/usr/local/lib/python3",
    ),
    row(
        "uv",
        "is installed by pip, makes an environment and installs a package from PyPI into it",
        &["python3-pip"],
        "/usr/bin/pip3 install -q --break-system-packages --no-cache-dir uv; uv venv -q -p /usr/bin/python3 v
         VIRTUAL_ENV=$PWD/v uv pip install -q six; v/bin/python -c 'import six; print(\"six by uv\", six.PY3)'",
        "six by uv True",
    ),
    row(
        "Node.js",
        "serves HTTP and fetches from itself",
        &["nodejs"],
        r#"cat > s.mjs <<'E'
import http from 'node:http';
const server = http.createServer((q, a) => a.end('served ' + q.url)).listen(0, '127.0.0.1', async () => {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/it`);
  console.log(answer.status, await answer.text());
  server.close();
});
E
           node s.mjs"#,
        "200 served /it",
    ),
    row(
        "npm",
        "installs a package into the project, and a program for everybody",
        &["npm"],
        "npm init -y > /dev/null; npm i --silent is-odd; node -e 'console.log(require(\"is-odd\")(3))'
         npm i -g --silent semver; semver -i minor 1.2.3; ls node_modules | wc -l",
        "1.3.0",
    ),
    row(
        "Rust",
        "cargo adds a crate, builds and tests",
        // Debian 12's own is older than the index over HTTP.
        &["cargo-web"],
        r#"cargo new -q work; cd work; cargo add -q itoa@1.0.11
           cat > src/main.rs <<'E'
fn main() { println!("{}", itoa::Buffer::new().format(42u8)); }
#[test] fn adds() { assert_eq!(40 + 2, 42); }
E
           cargo run -q; cargo test -q 2>&1"#,
        "1 passed",
    ),
    row(
        "Go",
        "builds, runs and tests a module",
        &["golang-go"],
        r#"go mod init example.org/work 2> /dev/null
           printf 'package main\nimport "fmt"\nfunc word() string { return "gone" }\nfunc main() { fmt.Println(word()) }\n' > main.go
           printf 'package main\nimport "testing"\nfunc TestWord(t *testing.T) { if word() != "gone" { t.Fail() } }\n' > main_test.go
           go run .; go test ."#,
        "ok  \texample.org/work",
    ),
    row(
        "Java",
        "compiles and runs a class on several threads",
        &["openjdk-17-jdk-headless"],
        r#"cat > Work.java <<'E'
public class Work { public static void main(String[] a) throws Exception {
  System.out.println(java.util.stream.IntStream.range(0, 1000).parallel().sum());
  System.out.println(java.util.concurrent.CompletableFuture.supplyAsync(() -> "joined").get());
} }
E
           javac Work.java; java Work"#,
        "499500\njoined",
    ),
    row(
        "gcc",
        "compiles C and runs it",
        &["gcc", "libc6-dev"],
        "printf '#include <stdio.h>\\nint main(void) { puts(\"from c\"); }\\n' > a.c; gcc -O2 -Wall -o a a.c; ./a",
        "from c",
    ),
    row(
        "g++",
        "compiles C++ with threads and exceptions",
        &["g++"],
        r#"cat > a.cc <<'E'
#include <iostream>
#include <stdexcept>
#include <thread>
int main() { std::thread t([] { try { throw std::runtime_error("caught"); } catch (std::exception &e) { std::cout << e.what() << std::endl; } }); t.join(); }
E
           g++ -O1 -pthread -o a a.cc; ./a"#,
        "caught",
    ),
    row(
        "make",
        "builds two targets in parallel, and nothing the second time",
        &["make"],
        "printf 'all: a b\\na b: %%: %%.in\\n\\tcp $< $@\\n' > Makefile; sed -i 's/%%/%/g' Makefile; touch a.in b.in; make -j2; make",
        "Nothing to be done",
    ),
    row(
        "CMake",
        "configures, builds and tests a project",
        &["cmake", "make", "gcc"],
        r#"printf 'cmake_minimum_required(VERSION 3.10)\nproject(w C)\nenable_testing()\nadd_executable(w w.c)\nadd_test(it w)\n' > CMakeLists.txt
           echo 'int main(void) { return 0; }' > w.c; cmake -S . -B b > /dev/null; cmake --build b > /dev/null; cd b; ctest"#,
        "100% tests passed",
    ),
    row(
        "PostgreSQL",
        "makes a cluster, starts a server, writes and queries a table",
        &["postgresql"],
        r#"pg=$(ls -d /usr/lib/postgresql/*/bin | tail -1); mkdir -p /tmp/pg; chown postgres /tmp/pg
           cat > /tmp/pg.sh <<E
set -eu; cd /tmp/pg; $pg/initdb -D data > log; $pg/pg_ctl -D data -w -l log -o '-k /tmp/pg -p 5439' start >> log
$pg/psql -qh /tmp/pg -p 5439 -c 'create table t (n int)' -c 'insert into t select generate_series(1, 1000)' postgres
$pg/psql -Ath /tmp/pg -p 5439 -c "select 'sum ' || sum(n) from t" postgres; $pg/pg_ctl -D data -m fast stop >> log
E
           sudo -u postgres sh /tmp/pg.sh || { cat /tmp/pg/log; false; }"#,
        "sum 500500",
    ),
    row(
        "Redis",
        "starts a server, stores and saves a key",
        &["redis-server"],
        "redis-server --port 7001 --daemonize yes --dir /tmp > /dev/null; for i in $(seq 100); do redis-cli -p 7001 ping 2> /dev/null && break; sleep 0.1; done
         redis-cli -p 7001 set k stored; redis-cli -p 7001 get k; redis-cli -p 7001 save; ls /tmp/dump.rdb",
        "stored\nOK\n/tmp/dump.rdb",
    ),
    row(
        "memcached",
        "starts as its own user, stores a value",
        &["memcached"],
        r#"memcached -u memcache -d -p 11299; python3() { /usr/bin/python3 "$@"; }; python3 - <<'E'
import socket, time
for _ in range(100):
    try: s = socket.create_connection(('127.0.0.1', 11299)); break
    except OSError: time.sleep(0.1)
s.sendall(b'set k 0 0 5\r\nvalue\r\nget k\r\n')
for line in s.makefile():
    print(line, end='')
    if line.startswith('END'): break
E"#,
        "VALUE k 0 5",
    ),
    row(
        "nginx",
        "starts as it is installed, on port 80 of all addresses, while programs that know of no proxy reach the world",
        &["nginx", "curl"],
        r#"nginx; echo a page of mine > /var/www/html/mine.txt
           for host in 127.0.0.1 '[::1]'; do curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://$host/mine.txt; done
           env -u http_proxy -u HTTP_PROXY -u all_proxy -u ALL_PROXY curl -sS -o /dev/null -w '%{http_code}\n' http://deb.debian.org/debian/"#,
        "a page of mine\na page of mine\n200",
    ),
    row(
        "Apache",
        "starts as it is installed, on port 80, and serves a page",
        &["apache2", "curl"],
        r#"echo a page of mine > /var/www/html/mine.txt; apachectl start 2>&1
           curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1/mine.txt; apachectl stop 2> /dev/null"#,
        "a page of mine",
    ),
    row(
        "MariaDB",
        "makes its files, starts a server as its own user, writes and queries a table",
        &["mariadb-server"],
        r#"mkdir /tmp/my; chown mysql /tmp/my
           mariadb-install-db --no-defaults --user=mysql --datadir=/tmp/my > /tmp/log 2>&1 || { tail -20 /tmp/log; false; }
           mariadbd --no-defaults --user=mysql --datadir=/tmp/my --socket=/tmp/my/s --skip-networking >> /tmp/log 2>&1 &
           for i in $(seq 300); do mariadb-admin -S /tmp/my/s ping > /dev/null 2>&1 && break; sleep 0.2; done
           mariadb -S /tmp/my/s -N -e 'create database w; create table w.t (n int); insert into w.t values (20), (22);
               select concat("sum ", sum(n)) from w.t' || { tail -20 /tmp/log; false; }
           mariadb-admin -S /tmp/my/s shutdown"#,
        "sum 42",
    ),
    row(
        "SQLite",
        "writes in WAL mode and queries",
        &["sqlite3"],
        "sqlite3 a.db 'pragma journal_mode=wal; create table t(n); insert into t values (1),(2),(3); select \"sum\", sum(n) from t'",
        "sum|6",
    ),
    row(
        "LibreOffice",
        "converts a document to PDF without a display",
        &["libreoffice-writer-nogui"],
        "printf '<html><body><h1>A letter</h1><p>of some length</p></body></html>' > a.html
         soffice --headless --convert-to docx:'MS Word 2007 XML' a.html > /dev/null 2>&1; soffice --headless --convert-to pdf a.docx; head -c 5 a.pdf",
        "%PDF-",
    ),
    row(
        "office documents",
        "are looked at page by page: letters, tables and slides, old and new",
        &["libreoffice-writer-nogui", "libreoffice-calc-nogui", "libreoffice-impress-nogui", "poppler-utils", "python3"],
        r#"printf '<html><body><h1>A letter</h1><p>of some length</p></body></html>' > a.html; printf 'a,b\n1,2\n' > t.csv
           /usr/bin/python3 - <<'E'
import zipfile
O = 'urn:oasis:names:tc:opendocument:xmlns:'
with zipfile.ZipFile('s.odp', 'w') as z:
    z.writestr('mimetype', 'application/vnd.oasis.opendocument.presentation')
    z.writestr('content.xml', f'<office:document-content xmlns:office="{O}office:1.0" xmlns:draw="{O}drawing:1.0" office:version="1.2"><office:body><office:presentation><draw:page draw:name="a"/><draw:page draw:name="b"/></office:presentation></office:body></office:document-content>')
    z.writestr('META-INF/manifest.xml', f'<m:manifest xmlns:m="{O}manifest:1.0"><m:file-entry m:full-path="/" m:media-type="application/vnd.oasis.opendocument.presentation"/><m:file-entry m:full-path="content.xml" m:media-type="text/xml"/></m:manifest>')
E
           to() { soffice --headless --convert-to "$1" "$2" > /tmp/log 2>&1 || { tail -20 /tmp/log; false; }; }
           to docx:'MS Word 2007 XML' a.html; to odt a.docx; to rtf a.docx; to doc a.docx; to xlsx t.csv; to ods t.csv; to pptx s.odp
           for document in a.docx a.odt a.rtf a.doc t.xlsx t.ods s.pptx s.odp; do
               mkdir "/tmp/$document"
               glance --request "{\"target\":\"$document\",\"widths\":[1280],\"page\":1,\"into\":\"/tmp/$document\"}"
               grep -o "$document: [0-9]* pages* when printed" "/tmp/$document/report.json" || cat "/tmp/$document/report.json"
               ls "/tmp/$document" | grep -c png
           done | tr '\n' ' '"#,
        "a.docx: 1 page when printed 1 a.odt: 1 page when printed 1 a.rtf: 1 page when printed 1 a.doc: 1 page when printed 1 \
         t.xlsx: 1 page when printed 1 t.ods: 1 page when printed 1 s.pptx: 2 pages when printed 2 s.odp: 2 pages when printed 2",
    ),
    row(
        "Chromium",
        "takes a screenshot of a file and of a local server's page, its own sandbox off",
        &["chromium", "python3"],
        r#"mkdir www; echo '<title>t</title><body style="background:#c00"><h1>page</h1>' > www/index.html
           /usr/bin/python3 -m http.server 8123 --bind 127.0.0.1 --directory www > /dev/null 2>&1 &
           c="chromium --headless --no-sandbox --disable-gpu --window-size=300,200"
           $c --screenshot=/tmp/file.png file://$PWD/www/index.html 2> /tmp/log || { tail -20 /tmp/log; false; }
           curl -sS -o /dev/null --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8123/
           $c --screenshot=/tmp/http.png http://127.0.0.1:8123/ 2>> /tmp/log || { tail -20 /tmp/log; false; }
           $c --dump-dom http://127.0.0.1:8123/ 2> /dev/null; for shot in file http; do head -c 4 /tmp/$shot.png | tail -c 3; done; kill $!"#,
        "PNGPNG",
    ),
    row(
        "Playwright",
        "drives Chromium through a form",
        &["chromium", "npm"],
        r#"npm init -y > /dev/null; npm i --silent playwright-core; cat > p.mjs <<'E'
import { chromium } from 'playwright-core';
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium' });
const page = await browser.newPage();
await page.setContent('<input id=i><button onclick="o.textContent = i.value.toUpperCase()">go</button><p id=o></p>');
await page.fill('#i', 'typed'); await page.click('button');
console.log(await page.textContent('#o'), (await page.screenshot()).length > 1000);
await browser.close();
E
           node p.mjs"#,
        "TYPED true",
    ),
    row(
        "git",
        "commits, branches, merges and clones",
        &["git"],
        "git init -q -b main a; cd a; git config user.email a@example.org; git config user.name A
         echo 1 > f; git add f; git commit -qm one; git switch -qc b; echo 2 > g; git add g; git commit -qm two; git switch -q main
         git merge -q --no-ff -m merged b; cd ..; git clone -q a c; git -C c log --oneline | wc -l; git -C c fsck && echo whole",
        "3\nwhole",
    ),
    row(
        "tmux",
        "runs a command in a terminal of its own and reads its screen",
        &["tmux"],
        "tmux new-session -d -s s 'tty; echo in a terminal; sleep 100'; for i in $(seq 50); do tmux capture-pane -pt s | grep -q terminal && break; sleep 0.1; done
         tmux capture-pane -pt s; tmux kill-server",
        "/dev/pts/0\nin a terminal",
    ),
    row(
        "gdb",
        "stops its own child at a function and prints a variable",
        &["gdb", "gcc"],
        "printf 'int f(int n) { return n + 1; }\\nint main(void) { return f(41) - 42; }\\n' > a.c; gcc -g -O0 -o a a.c
         gdb -q -batch -ex 'break f' -ex run -ex 'print n' -ex finish ./a",
        "$1 = 41",
    ),
    row(
        "strace",
        "shows its own child's system calls",
        &["strace"],
        "strace -f -e trace=openat,execve sh -c 'cat /dev/null' 2>&1 | grep -c execve; strace -c true 2>&1 | grep -o 'total'",
        "total",
    ),
    row(
        "FFmpeg",
        "encodes a film and reads it back",
        &["ffmpeg"],
        "ffmpeg -v error -f lavfi -i testsrc=duration=1:size=160x120:rate=10 -c:v libx264 a.mp4; ffprobe -v error -count_frames -show_entries stream=codec_name,nb_read_frames -of csv=p=0 a.mp4",
        "h264,10",
    ),
    row(
        "ImageMagick",
        "draws, scales and converts a picture",
        &["imagemagick"],
        "/usr/bin/convert -size 80x60 gradient:red-blue a.png; /usr/bin/convert a.png -resize 50% a.jpg; /usr/bin/identify -format '%m %wx%h' a.jpg",
        "JPEG 40x30",
    ),
    row(
        "Pandoc",
        "converts Markdown to HTML and DOCX",
        &["pandoc"],
        "printf '# One\\n\\n- *two*\\n' > a.md; pandoc -t html a.md; pandoc -o a.docx a.md; head -c 2 a.docx",
        "<li><em>two</em></li>",
    ),
    row(
        "rsync",
        "copies a tree and then only what changed",
        &["rsync"],
        "mkdir a; echo one > a/f; rsync -a a/ b; echo two >> a/f; touch a/g; rsync -ai a/ b; diff -r a b && echo alike",
        "g\nalike",
    ),
    row(
        "jq and ripgrep",
        "query JSON and search a tree",
        &["jq", "ripgrep"],
        "echo '{\"a\":[1,2]}' | jq -c '.a|add'; mkdir -p x/y; echo a needle > x/y/f; rg -l needle",
        "3\nx/y/f",
    ),
    row("Perl", "reads with its modules", &["perl"], "perl -MPOSIX -MDigest::MD5=md5_hex -e 'print md5_hex(\"a\"), floor(2.5), \"\\n\"'", "0cc175b9c0f1b6a831c399e2697726612"),
    row(
        "Ruby",
        "runs a script with a thread and a local server's socket",
        &["ruby"],
        "ruby -rsocket -e 's = TCPServer.new(\"127.0.0.1\", 0); Thread.new { s.accept.puts(\"ruby served\") }; puts TCPSocket.new(\"127.0.0.1\", s.addr[1]).gets'",
        "ruby served",
    ),
    row(
        "PHP",
        "serves a page with its own server",
        &["php-cli", "curl"],
        "echo '<?php echo 6 * 7, \" by php\";' > index.php; php -S 127.0.0.1:8124 > /dev/null 2>&1 & curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8124/; kill $!",
        "42 by php",
    ),
    row(
        "apt",
        "installs a program, upgrades what the machine has, and removes one, with sudo",
        &[],
        "sudo apt-get update -qq; sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --reinstall --allow-downgrades sl sed > /dev/null
         ls /usr/games/sl; sudo apt-get remove -qq -y sl > /dev/null; ls /usr/games/sl 2> /dev/null || echo removed; dpkg --audit; sed --version | head -1",
        "removed\nsed (GNU sed)",
    ),
    row(
        "unshare",
        "fails with a plain message: nothing inside makes namespaces",
        &["util-linux"],
        "unshare --user --mount true 2>&1 || echo refused",
        "unshare failed: Operation not permitted\nrefused",
    ),
];
