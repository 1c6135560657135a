//! A parser for the part of the shell language that documents use: words, quotes, comments and
//! operators.

/// One command: its words without assignments and redirections in front of or behind them.
pub(crate) type Command = Vec<String>;

/// The commands in `text`. `$(…)` stays as it stands, as a part of its word.
pub(crate) fn commands(text: &str) -> Vec<Command> {
    let mut commands = vec![Command::new()];
    let mut letters = text.replace("\\\n", " ").chars().collect::<Vec<_>>().into_iter().peekable();
    let mut word: Option<String> = None;
    let mut is_redirected = false;
    let end_word = |word: &mut Option<String>, commands: &mut Vec<Command>, skips: &mut bool| {
        if let Some(word) = word.take()
            && !std::mem::take(skips)
        {
            commands.last_mut().unwrap().push(word);
        }
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                word.get_or_insert_default().extend(letters.by_ref().take_while(|it| *it != '\''));
            }
            '"' => quoted(&mut letters, word.get_or_insert_default()),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            '$' if letters.peek() == Some(&'(') => {
                substitution(&mut letters, word.get_or_insert_default());
            }
            '#' if word.is_none() => while letters.next_if(|it| *it != '\n').is_some() {},
            ' ' | '\t' => end_word(&mut word, &mut commands, &mut is_redirected),
            '\n' | ';' | '|' | '&' | '(' | ')' => {
                end_word(&mut word, &mut commands, &mut is_redirected);
                commands.push(Command::new());
            }
            '>' | '<' => {
                // The number of a descriptor stands before it: 2>.
                if word.as_ref().is_some_and(|word| word.chars().all(|it| it.is_ascii_digit())) {
                    word = None;
                }
                end_word(&mut word, &mut commands, &mut is_redirected);
                while letters.next_if(|it| ">&<".contains(*it)).is_some() {}
                is_redirected = true;
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    end_word(&mut word, &mut commands, &mut is_redirected);
    for command in &mut commands {
        let is_assignment = |word: &String| {
            let name = word.split_once('=').map_or("", |(name, _)| name);
            !name.is_empty()
                && name.chars().all(|it| it.is_ascii_uppercase() || "_0123456789".contains(it))
        };
        let first = command.iter().position(|word| !is_assignment(word)).unwrap_or(command.len());
        command.drain(..first);
    }
    commands.retain(|command| !command.is_empty());
    commands
}

type Letters = std::iter::Peekable<std::vec::IntoIter<char>>;

fn quoted(letters: &mut Letters, word: &mut String) {
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => word.extend(letters.next()),
            '$' if letters.peek() == Some(&'(') => substitution(letters, word),
            letter => word.push(letter),
        }
    }
}

fn substitution(letters: &mut Letters, word: &mut String) {
    word.push('$');
    let mut depth = 0_u32;
    for letter in letters.by_ref() {
        word.push(letter);
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
}

#[test]
fn words_quotes_and_operators() {
    let text = "A=1 closecall serve --prefix 'a b' & # c\n\
        x 2>log | y \"q $(p r)\" >>f z; closecall lab \\\n  --only S1 && (u; v)\n";
    let expected: &[&[&str]] = &[
        &["closecall", "serve", "--prefix", "a b"],
        &["x"],
        &["y", "q $(p r)", "z"],
        &["closecall", "lab", "--only", "S1"],
        &["u"],
        &["v"],
    ];
    assert_eq!(commands(text), expected);
}
