import { describe, expect, it } from "vitest";
import { readMigrations } from "../../migrate/chain/files.ts";
import { readDecisions } from "../../contract/decisions.ts";
import { readDictionary, realName } from "../../contract/dictionary.ts";
import { MIGRATIONS_FOLDER } from "../helpers/schema-database.ts";

const migrations = readMigrations(MIGRATIONS_FOLDER);
const dictionary = readDictionary();

/** SQL without its comments, strings and function bodies. */
function bare(sql: string): string {
  return sql
    .replace(/\$(\w*)\$[\s\S]*?\$\1\$/g, "$$$$")
    .replace(/--.*$/gm, "")
    .replace(/'(?:[^']|'')*'/g, "''");
}

describe("the dictionary", () => {
  it("is the whole one", () => {
    const tables = Object.values(dictionary.tables);
    expect(tables).toHaveLength(78);
    expect(tables.flatMap(({ columns }) => columns)).toHaveLength(1189);
    expect(Object.keys(dictionary.enums)).toHaveLength(38);
    expect(tables.flatMap(({ foreignKeys }) => foreignKeys)).toHaveLength(79);
    expect(tables.flatMap(({ indexes }) => indexes)).toHaveLength(243);
  });
});

describe("the migrations", () => {
  it("make every table of the dictionary, each in one of four phases", () => {
    const made = migrations.flatMap(({ up }) =>
      [...up.matchAll(/^ *create table ((?:public|audit)\.\w+) \(/gm)].map(([, name]) => name),
    );
    const wanted = Object.keys(dictionary.tables).map((key) => realName(dictionary, key));
    expect(made.toSorted()).toEqual(wanted.toSorted());
    expect([...new Set(migrations.map(({ phase }) => Number(phase)))]).toEqual([1, 2, 3, 4]);
  });

  it("say why, and what they lock, both ways", () => {
    const silent = migrations.filter(
      ({ header, downHeader }) => ![header, downHeader].every((each) => each["Why"] && each["Lock"] && each["Phase"]),
    );
    expect(silent.map(({ name }) => name)).toEqual([]);
  });

  it("say what is lost on the way back wherever a table, a column or a row goes", () => {
    const losing = migrations.filter(({ down }) =>
      /\b(drop table|drop column|delete from|truncate)\b/.test(down ?? ""),
    );
    expect(losing.length).toBeGreaterThan(20);
    const silent = losing.filter(({ downHeader }) => !downHeader["Data loss"]);
    expect(silent.map(({ name }) => name)).toEqual([]);
  });

  it("write every name with its schema", () => {
    const loose = migrations.flatMap(({ name, up, down }) =>
      [
        ...bare(`${up}\n${down ?? ""}`).matchAll(
          /^(?:create|drop|alter) (?:or replace )?(?:table|view|materialized view|type|function|procedure|sequence) (?:if (?:not )?exists )?(\S+)/gm,
        ),
      ]
        .filter(([, object]) => !object?.includes("."))
        .map(([statement]) => `${name}: ${statement}`),
    );
    expect(loose).toEqual([]);
  });

  it("leave transactions, roles and the pooler's schema to others", () => {
    const trespassing = migrations.filter(({ up, down }) =>
      /\b(create role|alter role|drop role|create user|create extension|pgbouncer\.|concurrently \w+\.?\w* on)\b/.test(
        bare(`${up}\n${down ?? ""}`),
      ),
    );
    expect(trespassing.map(({ name }) => name)).toEqual([]);
  });
});

describe("the decisions", () => {
  it("each give a reason that is a sentence", () => {
    expect(readDecisions().filter(({ reason }) => !/^[A-Za-z].{10,}\.$/s.test(reason))).toEqual([]);
  });
});
