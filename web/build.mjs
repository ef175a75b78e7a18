// Bundles the page into simrecorder-cli/page, which the program contains.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const target = new URL("../simrecorder-cli/page/", import.meta.url);
await mkdir(target, { recursive: true });
await build({
  entryPoints: ["src/page.ts"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  outdir: target.pathname,
  legalComments: "none",
});
await cp("src/index.html", new URL("index.html", target));
const files = ["index.html", "page.js", "page.css"];
const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(new URL(file, target))).length));
const total = sizes.reduce((a, b) => a + b);
console.log(`page: ${total} bytes compressed`);
if (total > 150_000) throw new Error("the page is larger than 150 kB compressed");
