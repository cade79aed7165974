//! From a query's BSON to what is asked of a document.

use super::arguments::{
    bits, is_true, modulo, operand, refuse_operator, regular_expression, whole,
};
use super::bits::Of;
use super::bounds;
use super::error::{At, FilterError};
use super::operand::Comparison;
use super::order::fields;
use super::path::Path;
use super::pattern::Pattern;
use super::query::Query;
use super::test::{Condition, Test};
use super::types::Types;
use crate::change::raw::{Element, find};
use bson::spec::ElementType;

/// Compiles a query that `bounds` has checked.
pub(super) fn query(document: &[u8]) -> Result<Query, FilterError> {
    Compiler::default().query(document, &At::TOP)
}

/// What has been compiled so far, against the bounds.
#[derive(Default)]
struct Compiler {
    conditions: usize,
    patterns: usize,
}

impl Compiler {
    /// `{field: …, field: …, $or: […]}`
    fn query(&mut self, document: &[u8], at: &At<'_>) -> Result<Query, FilterError> {
        let mut parts = Vec::new();
        for element in fields(document) {
            let at = at.below(element.name);
            match element.name {
                b"$comment" => {}
                b"$and" => parts.push(all(self.queries(&element, &at)?)),
                b"$or" => parts.push(Query::Any(self.queries(&element, &at)?.into())),
                b"$nor" => parts.push(Query::None(self.queries(&element, &at)?.into())),
                // The fields of a DBRef.
                b"$ref" | b"$id" | b"$db" => {
                    let path = Path::new(element.name, &at)?;
                    parts.push(Query::Field(path, self.equal(&element, &at)?));
                }
                b"$not" => {
                    return at.refuse("$not stands below a field; negate a whole query by $nor");
                }
                [b'$', ..] => {
                    return refuse_operator(
                        &element,
                        &at,
                        "here; $and, $or, $nor and $comment are",
                    );
                }
                name => {
                    let path = Path::new(name, &at)?;
                    parts.push(Query::Field(path, self.field(&element, &at)?));
                }
            }
        }
        Ok(all(parts))
    }

    /// `[query, …]`
    fn queries(&mut self, list: &Element<'_>, at: &At<'_>) -> Result<Vec<Query>, FilterError> {
        let name = String::from_utf8_lossy(list.name);
        let mut queries = Vec::new();
        for each in fields(list.as_array().unwrap_or_default()) {
            let at = at.below(each.name);
            let Some(document) = each.as_document() else {
                return at.refuse(format!("{name} takes queries; give a document here"));
            };
            queries.push(self.query(document, &at)?);
        }
        match queries.is_empty() {
            true => at.refuse(format!("{name} takes an array of at least one query")),
            false => Ok(queries),
        }
    }

    /// `field: value` or `field: {$operator: …}`
    fn field(&mut self, element: &Element<'_>, at: &At<'_>) -> Result<Condition, FilterError> {
        match element.as_document() {
            Some(document) if has_operators(document) => self.operators(document, at),
            _ => self.equal_or_pattern(element, at),
        }
    }

    /// `{$operator: …, $operator: …}`
    fn operators(&mut self, document: &[u8], at: &At<'_>) -> Result<Condition, FilterError> {
        let mut conditions = Vec::new();
        for operator in fields(document) {
            let at = at.below(operator.name);
            if operator.name == b"$options" {
                if !matches!(find(document, "$regex"), Ok(Some(_))) {
                    return at.refuse("$options stands beside $regex; add one");
                }
                continue;
            }
            conditions.push(self.operator(&operator, document, &at)?);
        }
        Ok(both(conditions))
    }

    fn operator(
        &mut self,
        operator: &Element<'_>,
        siblings: &[u8],
        at: &At<'_>,
    ) -> Result<Condition, FilterError> {
        let test = match operator.name {
            b"$eq" => return self.equal(operator, at),
            b"$ne" => {
                if operator.kind == ElementType::RegularExpression {
                    return at.refuse("$ne takes no regular expression; use $not");
                }
                return self.equal(operator, at).map(Condition::not);
            }
            b"$gt" => self.range(Comparison::Greater, operator, at)?,
            b"$gte" => self.range(Comparison::GreaterOrEqual, operator, at)?,
            b"$lt" => self.range(Comparison::Less, operator, at)?,
            b"$lte" => self.range(Comparison::LessOrEqual, operator, at)?,
            b"$in" => self.one_of(operator, at)?,
            b"$nin" => {
                let test = self.one_of(operator, at)?;
                return Ok(self.test(test, at)?.not());
            }
            b"$not" => return self.not(operator, at),
            b"$exists" => {
                let exists = self.test(Test::Exists, at)?;
                return Ok(if is_true(operator) {
                    exists
                } else {
                    exists.not()
                });
            }
            b"$type" => Test::Types(Types::read(operator, at)?),
            b"$size" => Test::Size(whole(operator, at, "$size")? as usize),
            b"$all" => return self.all(operator, at),
            b"$elemMatch" => self.element(operator, at)?,
            b"$mod" => modulo(operator, at)?,
            b"$regex" => self.regex(operator, siblings, at)?,
            b"$bitsAllSet" => bits(operator, at, Of::All, true)?,
            b"$bitsAllClear" => bits(operator, at, Of::All, false)?,
            b"$bitsAnySet" => bits(operator, at, Of::Any, true)?,
            b"$bitsAnyClear" => bits(operator, at, Of::Any, false)?,
            [b'$', ..] => {
                return refuse_operator(operator, at, "for a field; $eq, $in, $gt and others are");
            }
            _ => {
                return at.refuse(
                    "a field's name stands among operators; give either operators or a value",
                );
            }
        };
        self.test(test, at)
    }

    fn test(&mut self, test: Test, at: &At<'_>) -> Result<Condition, FilterError> {
        self.conditions += 1;
        if self.conditions > bounds::CONDITIONS {
            return at.refuse(format!(
                "the filter has more than {} conditions; put values of one field in $in",
                bounds::CONDITIONS
            ));
        }
        Ok(Condition::Test(test))
    }

    fn equal(&mut self, value: &Element<'_>, at: &At<'_>) -> Result<Condition, FilterError> {
        let test = Test::Compare(Comparison::Equal, operand(value, at)?);
        self.test(test, at)
    }

    fn equal_or_pattern(
        &mut self,
        value: &Element<'_>,
        at: &At<'_>,
    ) -> Result<Condition, FilterError> {
        if value.kind != ElementType::RegularExpression {
            return self.equal(value, at);
        }
        let pattern = self.literal_pattern(value, at)?;
        self.test(Test::Pattern(pattern), at)
    }

    fn range(
        &mut self,
        comparison: Comparison,
        value: &Element<'_>,
        at: &At<'_>,
    ) -> Result<Test, FilterError> {
        if value.kind == ElementType::RegularExpression {
            return at.refuse("a range takes no regular expression; give a value to compare with");
        }
        Ok(Test::Compare(comparison, operand(value, at)?))
    }

    fn one_of(&mut self, list: &Element<'_>, at: &At<'_>) -> Result<Test, FilterError> {
        let name = String::from_utf8_lossy(list.name);
        let Some(array) = list.as_array() else {
            return at.refuse(format!("{name} takes an array of values"));
        };
        let (mut operands, mut patterns) = (Vec::new(), Vec::new());
        for each in fields(array) {
            let at = at.below(each.name);
            if each.as_document().is_some_and(has_operators) {
                return at.refuse(format!(
                    "{name} takes values, no operators; use $or for those"
                ));
            }
            match each.kind {
                ElementType::RegularExpression => patterns.push(self.literal_pattern(&each, &at)?),
                _ => operands.push(operand(&each, &at)?),
            }
        }
        Ok(Test::In(operands.into_iter().collect(), patterns.into()))
    }

    fn not(&mut self, operator: &Element<'_>, at: &At<'_>) -> Result<Condition, FilterError> {
        if operator.kind == ElementType::RegularExpression {
            return self.equal_or_pattern(operator, at).map(Condition::not);
        }
        match operator.as_document() {
            Some(document) if fields(document).next().is_some() => {
                self.operators(document, at).map(Condition::not)
            }
            _ => at.refuse(
                "$not takes operators or a regular expression, such as {$not: {$gt: 5}}; for a \
                 value use $ne",
            ),
        }
    }

    fn all(&mut self, list: &Element<'_>, at: &At<'_>) -> Result<Condition, FilterError> {
        let Some(array) = list.as_array() else {
            return at.refuse("$all takes an array of values");
        };
        let of_elements = fields(array)
            .next()
            .is_some_and(|first| is_element_match(&first));
        let mut conditions = Vec::new();
        for each in fields(array) {
            let at = at.below(each.name);
            let document = each.as_document();
            if of_elements {
                let Some(document) = document.filter(|_| is_element_match(&each)) else {
                    return at.refuse("$all takes either values or {$elemMatch: …}, not both");
                };
                if fields(document).nth(1).is_some() {
                    return at.refuse("$elemMatch has a neighbour; within $all, give it alone");
                }
                conditions.push(self.operators(document, &at)?);
            } else if document.is_some_and(has_operators) {
                return at.refuse("$all takes values; of operators, only $elemMatch");
            } else {
                conditions.push(self.equal_or_pattern(&each, &at)?);
            }
        }
        match conditions.is_empty() {
            true => self.test(Test::Never, at),
            false => Ok(both(conditions)),
        }
    }

    fn element(&mut self, operator: &Element<'_>, at: &At<'_>) -> Result<Test, FilterError> {
        let Some(document) = operator.as_document() else {
            return at.refuse("$elemMatch takes a query or operators, such as {$gt: 5}");
        };
        Ok(match has_operators_for_an_element(document) {
            true => Test::ElementMeets(self.operators(document, at)?.into()),
            false => Test::ElementMatches(self.query(document, at)?.into()),
        })
    }

    /// `$regex` with the `$options` beside it.
    fn regex(
        &mut self,
        operator: &Element<'_>,
        siblings: &[u8],
        at: &At<'_>,
    ) -> Result<Test, FilterError> {
        if fields(siblings).filter(|it| it.name == b"$regex").count() > 1 {
            return at.refuse("$regex stands here twice; use $and for two of them");
        }
        let beside = match find(siblings, "$options") {
            Ok(Some(options)) => match options.as_str() {
                Some(options) => Some(options),
                None => return at.refuse("$options takes a string, such as \"i\""),
            },
            _ => None,
        };
        let (pattern, own) = match operator.kind {
            ElementType::String => (operator.as_str(), ""),
            ElementType::RegularExpression => {
                let (pattern, options) = regular_expression(operator, at)?;
                (Some(pattern), options)
            }
            _ => return at.refuse("$regex takes a string or a regular expression"),
        };
        let Some(pattern) = pattern else {
            return at.refuse("the regular expression is not valid UTF-8; use one that is");
        };
        let options = match (own, beside.unwrap_or_default()) {
            (own, "") => own,
            ("", beside) => beside,
            _ => return at.refuse("options stand in both $regex and $options; give them once"),
        };
        self.pattern(pattern, options, at).map(Test::Pattern)
    }

    fn literal_pattern(
        &mut self,
        value: &Element<'_>,
        at: &At<'_>,
    ) -> Result<Pattern, FilterError> {
        let (pattern, options) = regular_expression(value, at)?;
        self.pattern(pattern, options, at)
    }

    fn pattern(
        &mut self,
        pattern: &str,
        options: &str,
        at: &At<'_>,
    ) -> Result<Pattern, FilterError> {
        self.patterns += 1;
        if self.patterns > bounds::PATTERNS {
            return at.refuse(format!(
                "the filter has more than {} regular expressions; join some by |",
                bounds::PATTERNS
            ));
        }
        Pattern::new(pattern, options).or_else(|problem| at.refuse(problem))
    }
}

fn all(mut queries: Vec<Query>) -> Query {
    match queries.len() {
        1 => queries.remove(0),
        _ => Query::All(queries.into()),
    }
}

fn both(mut conditions: Vec<Condition>) -> Condition {
    match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::All(conditions.into()),
    }
}

/// A document that begins with an operator. A DBRef is a value.
fn has_operators(document: &[u8]) -> bool {
    let has = |name: &[u8]| fields(document).any(|field| field.name == name);
    let begins = fields(document)
        .next()
        .is_some_and(|it| it.name.starts_with(b"$"));
    begins && !(has(b"$ref") && has(b"$id"))
}

/// The same within `$elemMatch`, where some operators begin a query of the elements.
fn has_operators_for_an_element(document: &[u8]) -> bool {
    let has = |name: &[u8]| fields(document).any(|field| field.name == name);
    match fields(document).next().map(|first| first.name) {
        Some(b"$and" | b"$or" | b"$nor" | b"$comment") => false,
        Some([b'$', ..]) => !has(b"$ref") && !has(b"$id") && !has(b"$db"),
        _ => false,
    }
}

/// `{$elemMatch: …}`
fn is_element_match(value: &Element<'_>) -> bool {
    let document = value.as_document().unwrap_or_default();
    let first = fields(document).next();
    first.is_some_and(|first| first.name == b"$elemMatch")
}
