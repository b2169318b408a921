"""Text that some reader of YAML takes for something else, or that is awkward to write down, for tests of kubevault."""

ODD = (
    "yes", "no", "on", "off", "y", "n", "Yes", "OFF", "true", "False", "TRUE", "null", "Null", "~", "", " ",
    "  x  ", "0x1F", "0o17", "007", "1_000", "0b101", "0b1_0", "0x_1", "1_0.5", "1.50", "1e3", "12e03", "+1",
    "-0", ".5", ".inf", "-.INF", ".nan", "190:20:30", "2024-01-02", "2024-01-02T03:04:05Z", "=", "<<", "---",
    "...", "- a", "a: b", "a #b", "#", "&a", "*a", "!a", "!!binary aGk=", "%a", "@a", "`a`", "'", "\"", "\\",
    "\\n", "{a}", "[a]", "|", ">", "?", ",", ":", "a:", "a\n", "a\nb", "a\n\nb\n\n", "\na", "\n", "\r\n",
    "a\rb", "\ta", "a\t", "\x00", "\x01\x1f\x7f", "\x80\x85\x9f\xa0", "\u2028\u2029", "\ufeffa",
    "\ufffe\uffff", "gr\xfc\xdfe", "\u65e5\u672c", "\U0001f511", "\U0001ffff", "e\u0301", "a" * 5000,
    "a " * 3000, "1" * 300, "$(id) {{ x }}", "a\x00b", "\ufffd\ufffe\uffff", "\u65e5\u672c\u8a9e", "\u202eabc",
    "\U0001f511" * 500, "$(id) ${HOME} {{ x }}",
)  # fmt: skip
KEYS = (
    "yes", "no", "on", "off", "null", "true", "1", "0x1F", "1_000", "1.5", "1e3", ".a",
    "a..b", "-", "_", "-a", "tls.crt", "k" * 253,
)  # fmt: skip
