// BullMQ as worker or client: `node peer.mjs worker|client`, told the rest by its environment as given.py is; the
// client does what driver.py does.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, Worker } from "bullmq";
import { Marker, Marks } from "./marks.mjs";

const { BENCH_REDIS: redis, BENCH_CONCURRENCY: concurrency, BENCH_MARKS: folder } = process.env;
const { hostname: host, port } = new URL(redis);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };

function work() {
  const marker = new Marker(folder);
  const run = async ({ data }) => {
    const slot = marker.began(data.number);
    if (data.seconds) await sleep(data.seconds * 1000);
    marker.ended(slot);
  };
  new Worker("bench", run, { connection, concurrency: Number(concurrency) });
}

async function drive() {
  const queue = new Queue("bench", { connection });
  const marks = new Marks(folder);
  const add = (number, seconds) => queue.add("run", { number, seconds });
  const now = () => Number(process.hrtime.bigint()) / 1e9;

  const verbs = {
    async submit({ first, count, seconds = 0, at_once = 1 }) {
      let next = first;
      const oneAfterAnother = async () => {
        while (next < first + count) await add(next++, seconds);
      };
      const begun = now();
      await Promise.all(Array.from({ length: at_once }, oneAfterAnother));
      return { seconds: now() - begun };
    },

    async pick_up({ first, count, most_s, pause_s }) {
      const waits = [];
      const until = now() + most_s;
      for (let number = first; number < first + count; number++) {
        const before = process.hrtime.bigint();
        await add(number, 0);
        const lost = now() + 20;
        let began;
        while ((began = marks.began(number)) === undefined) {
          if (now() > lost) throw new Error(`task ${number} did not run within 20 s`);
          await sleep(1);
        }
        waits.push(Number(began - before) / 1e6);
        if (now() > until) break;
        await sleep(1000 * pause_s + Math.random() * waits.at(-1));
      }
      return { ms: waits };
    },

    async steady({ first, count, every_s }) {
      const begun = now();
      const running = [];
      for (let place = 0; place < count; place++) {
        await sleep(Math.max(0, 1000 * (begun + place * every_s - now())));
        running.push(add(first + place, 0));
      }
      await Promise.all(running);
      return { seconds: now() - begun };
    },
  };

  for await (const line of createInterface({ input: process.stdin })) {
    const { do: verb, ...wanted } = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(await verbs[verb](wanted))}\n`);
  }
  await queue.close();
}

if (process.argv[2] === "worker") work();
else await drive();
