// The marks of marks.py: a file a process, records of three 64-bit numbers (task + 1, began, ended), monotonic ns.
// Node has no mmap: each mark is a write to the page cache.
import { closeSync, ftruncateSync, openSync, readSync, readdirSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

const FIELDS = 3;
const BYTES = 8 * FIELDS * (1 << 17);

export class Marker {
  constructor(folder) {
    this.file = openSync(join(folder, `${process.pid}.marks`), "wx+");
    ftruncateSync(this.file, BYTES);
    this.slots = 0;
  }

  began(number) {
    const slot = this.slots++ * 8 * FIELDS;
    writeSync(this.file, BigUint64Array.of(BigInt(number + 1), process.hrtime.bigint()), 0, 16, slot);
    return slot;
  }

  ended(slot) {
    writeSync(this.file, BigUint64Array.of(process.hrtime.bigint()), 0, 8, slot + 16);
  }
}

/** When the task of this number began, ns, or undefined while it has not ended; the last runs are looked at. */
export class Marks {
  constructor(folder) {
    this.folder = folder;
    this.seen = new Map();
  }

  began(number) {
    const record = new BigUint64Array(FIELDS);
    for (const name of readdirSync(this.folder).filter((one) => one.endsWith(".marks"))) {
      const path = join(this.folder, name);
      if (statSync(path).size < BYTES) continue;
      const file = openSync(path, "r");
      try {
        for (let at = this.seen.get(name) ?? 0; ; at += 8 * FIELDS) {
          readSync(file, record, 0, 8 * FIELDS, at);
          if (record[0] === 0n) break;
          if (record[2] !== 0n) this.seen.set(name, at);
          if (record[0] === BigInt(number + 1) && record[2] !== 0n) return record[1];
        }
      } finally {
        closeSync(file);
      }
    }
    return undefined;
  }
}
