//! The paths that a Rust source names: those of its `use` lines and those within its code. What only tests compile is left out.

/// A name that a `use` line brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The path behind it; `*` at its end stands for everything.
    pub(crate) path: Vec<String>,
    /// The name that it has here.
    pub(crate) name: String,
    /// Whether others can import it from here.
    pub(crate) public: bool,
    /// The inline modules around it.
    pub(crate) within: Vec<String>,
}

/// A path in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) path: Vec<String>,
    pub(crate) within: Vec<String>,
}

/// What a source has and names.
#[derive(Debug, Default)]
pub(crate) struct SourceFile {
    pub(crate) imports: Vec<Import>,
    pub(crate) paths: Vec<Path>,
    /// The items that it defines, at whatever depth.
    pub(crate) items: Vec<String>,
    /// Its macros that the whole crate has.
    pub(crate) macros: Vec<String>,
    /// Its modules that only tests compile.
    pub(crate) test_modules: Vec<String>,
}

impl SourceFile {
    pub(crate) fn read(text: &str) -> Self {
        let mut reader = Reader {
            tokens: tokens(text),
            at: 0,
            modules: vec![],
            depth: 0,
            source: Self::default(),
        };
        reader.read();
        reader.source
    }
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
    /// The inline modules around this place, each with the depth of its braces.
    modules: Vec<(String, usize)>,
    depth: usize,
    source: SourceFile,
}

impl Reader {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn within(&self) -> Vec<String> {
        self.modules.iter().map(|(name, _)| name.clone()).collect()
    }

    fn read(&mut self) {
        let mut public = false;
        while self.at < self.tokens.len() {
            if self.is(&["#", "[", "cfg", "(", "test", ")", "]"]) {
                self.at += 7;
                self.skip_item();
                continue;
            }
            if self.is(&["#", "[", "macro_export", "]"]) {
                let after = &self.tokens[self.at..];
                let name = after.iter().position(|token| token == "macro_rules");
                self.source
                    .macros
                    .extend(name.and_then(|at| after.get(at + 2)).cloned());
                self.at += 4;
                continue;
            }
            let token = self.peek(0).to_owned();
            match token.as_str() {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    self.modules.retain(|(_, depth)| *depth <= self.depth);
                }
                "pub" => {
                    public = true;
                    if self.peek(1) == "(" {
                        while self.peek(0) != ")" {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    continue;
                }
                "use" => {
                    self.at += 1;
                    self.tree(&[], public);
                }
                "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static"
                | "mod" => {
                    let name = self.peek(1).to_owned();
                    if is_name(&name)
                        && !matches!(name.as_str(), "fn" | "unsafe" | "async" | "extern")
                    {
                        if token == "mod" && self.peek(2) == "{" {
                            self.modules.push((name.clone(), self.depth + 1));
                        }
                        self.source.items.push(name);
                    }
                }
                "macro_rules" => self.source.items.push(self.peek(2).to_owned()),
                name if is_name(name) && self.peek(1) == "::" => {
                    let path = self.path();
                    let within = self.within();
                    self.source.paths.push(Path { path, within });
                    continue;
                }
                _ => {}
            }
            public = false;
            self.at += 1;
        }
    }

    fn is(&self, expected: &[&str]) -> bool {
        (0..)
            .zip(expected)
            .all(|(at, token)| self.peek(at) == *token)
    }

    /// Skips the item that only tests compile.
    fn skip_item(&mut self) {
        if self.is(&["mod"]) && self.peek(2) == ";" {
            self.source.test_modules.push(self.peek(1).to_owned());
        }
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(self.peek(0), ";" | "}");
            self.at += 1;
            if ends {
                return;
            }
        }
    }

    /// A path in code.
    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            path.push(self.peek(1).to_owned());
            self.at += 2;
        }
        path
    }

    /// What stands behind `use`, `prefix` being what stands before.
    fn tree(&mut self, prefix: &[String], public: bool) {
        let mut path = prefix.to_vec();
        loop {
            match self.peek(0).to_owned().as_str() {
                "{" => {
                    self.at += 1;
                    while self.peek(0) != "}" {
                        self.tree(&path, public);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "::" => self.at += 1,
                segment => {
                    path.push(segment.to_owned());
                    self.at += 1;
                    if self.peek(0) == "::" {
                        continue;
                    }
                    if path.last().is_some_and(|last| last == "self") {
                        path.pop();
                    }
                    let mut name = path.last().cloned().unwrap_or_default();
                    if self.peek(0) == "as" {
                        self.peek(1).clone_into(&mut name);
                        self.at += 2;
                    }
                    let within = self.within();
                    self.source.imports.push(Import {
                        path,
                        name,
                        public,
                        within,
                    });
                    return;
                }
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
}

/// The tokens of a source, without its comments, strings and characters. A path separator is one token.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut tokens = vec![];
    let mut i = 0;
    while i < chars.len() {
        match (chars[i], at(i + 1)) {
            ('/', '/') => {
                while i < chars.len() && chars[i] != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => {
                while i < chars.len() && (chars[i], at(i + 1)) != ('*', '/') {
                    i += 1;
                }
                i += 2;
            }
            ('"', _) => i = end_of_string(&chars, i + 1),
            ('r', '"' | '#') if raw_string(&chars, i).is_some() => {
                i = raw_string(&chars, i).unwrap_or(i + 1);
            }
            // A character, or a lifetime.
            ('\'', '\\') => {
                i += 3;
                while i < chars.len() && chars[i] != '\'' {
                    i += 1;
                }
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('\'', _) => i += 1,
            (':', ':') => {
                tokens.push("::".to_owned());
                i += 2;
            }
            (first, _) if first.is_ascii_alphanumeric() || first == '_' => {
                let start = i;
                while at(i).is_ascii_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                tokens.push(chars[start..i].iter().collect());
            }
            (other, _) => {
                if !other.is_whitespace() {
                    tokens.push(other.to_string());
                }
                i += 1;
            }
        }
    }
    tokens
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Where the raw string that begins here ends.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    (open + 1..chars.len())
        .find(|&i| chars[i..].starts_with(&close))
        .map(|i| i + close.len())
}
