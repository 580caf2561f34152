import { once } from "node:events";
import type { Writable } from "node:stream";
import { styleText } from "node:util";
import { hasCode, messageOf, ToolError, UserError } from "./errors.ts";

/**
 * The only place that prints. Progress and errors go to stderr and data goes to stdout, so that `--json` and pipes get
 * data only.
 */
export interface Output {
  /** One progress line, for anything that takes longer than two seconds. */
  progress(line: string): void;
  /** A result for people; not printed with `--json`. */
  text(line: string): void;
  /**
   * The same result for machines, printed only with `--json`. A command calls it once, and does not fail afterwards.
   */
  json(value: unknown): void;
  /** The same for JSON text that the database wrote. It is printed as it is, so that no large number loses digits. */
  jsonText(text: string): void;
  /**
   * A result of any length, line by line: for people as text, with `--json` as an object on each line. It takes no more
   * when the reader of a pipe has left.
   */
  lines<T>(source: AsyncIterable<T>, textOf: (value: T) => string): Promise<void>;
  /** Something the user should know that does not stop the command. */
  warn(line: string): void;
  /** The error that ends the command. */
  error(error: unknown): void;
}

/** Colours only where a person looks at them: a terminal, and NO_COLOR not set (https://no-color.org). */
function paint(format: "dim" | "yellow" | "red", text: string): string {
  return styleText(format, text, { stream: process.stderr, validateStream: true });
}

/** Replaces characters that a terminal obeys instead of showing. Lines may hold values that the application wrote. */
function inert(line: string): string {
  return line.replaceAll(/[^\P{Cc}\n\t]|\p{Bidi_Control}/gu, "\uFFFD");
}

/** Escapes further characters that a terminal obeys: JSON itself escapes only those below the space. */
function inertJson(text: string): string {
  return text.replaceAll(
    /[\u007F-\u009F]|\p{Bidi_Control}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Stdout takes no more, as on a full disk. */
export class NotWritten extends ToolError {
  constructor(cause: unknown) {
    super(`The result cannot be written: ${messageOf(cause)}`, [], { cause });
  }
}

/** Waits until the reader of a pipe has caught up. False: it has left. */
async function hasCaughtUp(): Promise<boolean> {
  try {
    await once(process.stdout, "drain");
    return true;
  } catch (error) {
    if (!hasCode(error, "EPIPE")) throw new NotWritten(error);
    return false;
  }
}

/** Where a result goes that is no text, byte for byte: this process' stdout. */
export const bytesOutput = (): Writable => process.stdout;

/** Output to this process' stdout and stderr. */
export function createOutput(options: { json: boolean }): Output {
  const toStderr = (line: string) => process.stderr.write(`${line}\n`);
  const printJson = (text: string) => {
    if (options.json) process.stdout.write(`${inertJson(text)}\n`);
  };
  return {
    progress: (line) => toStderr(paint("dim", `· ${inert(line)}`)),
    text: (line) => {
      if (!options.json) process.stdout.write(`${inert(line)}\n`);
    },
    json: (value) => {
      if (options.json) printJson(JSON.stringify(value, null, 2));
    },
    jsonText: printJson,
    lines: async (source, textOf) => {
      for await (const value of source) {
        const line = options.json ? inertJson(JSON.stringify(value)) : inert(textOf(value));
        if (!process.stdout.write(`${line}\n`) && !(await hasCaughtUp())) return;
      }
    },
    warn: (line) => toStderr(paint("yellow", `! ${inert(line)}`)),
    error: (error) => {
      const known = error instanceof UserError;
      const message = known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
      toStderr(paint("red", inert(known ? message : `Unexpected failure (a bug, please report it):\n${message}`)));
      if (options.json && !(error instanceof NotWritten)) {
        const { problems, result } = known ? error : { problems: [], result: undefined };
        printJson(JSON.stringify({ ...result, error: { message, problems } }, null, 2));
      }
    },
  };
}
