/** A stream of the engine's that a container or a command without a terminal writes to. */
export type FrameStream = AsyncIterable<Buffer> & { destroy(): unknown };

/** What was written in one go. */
export interface Frame {
  /** 1 for stdout, 2 for stderr. */
  readonly source: number;
  readonly payload: Buffer;
}

/**
 * The frames of a stream, read no faster than they are taken; the library's own way of reading them never waits. A
 * frame has a byte for its source, three of nothing, four for the size, then the bytes.
 *
 * @see https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
 */
export async function* frames(stream: FrameStream): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const end = rest.length < 8 ? Infinity : 8 + rest.readUInt32BE(4);
      if (rest.length < end) break;
      yield { source: rest.readUInt8(0), payload: rest.subarray(8, end) };
      rest = rest.subarray(end);
    }
  }
}
