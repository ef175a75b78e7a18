// Bundles the page into simrecorder-cli/page, which the program contains.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const MAX_BYTES = 150_000;

const here = new URL(".", import.meta.url);
const target = new URL("../simrecorder-cli/page/", here);
await mkdir(target, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here.pathname,
  entryPoints: ["src/page.ts"],
  bundle: true,
  minify: true,
  metafile: true,
  format: "esm",
  target: "es2022",
  outdir: target.pathname,
  legalComments: "none",
});
for (const file of ["index.html", "favicon.svg"])
  await cp(new URL(`src/${file}`, here), new URL(file, target));

// The licences of what is in the bundle.
const inputs = Object.keys(metafile.inputs).map(
  (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1],
);
const packages = [...new Set(inputs.filter(Boolean))].sort();
const licences = await Promise.all(
  packages.map(async (name) => {
    const folder = new URL(`node_modules/${name}/`, here);
    const { version, license } = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
    return `${name} ${version} (${license})\n\n${await readFile(new URL("LICENSE", folder), "utf8")}`;
  }),
);
licences.push("The colour map viridis of matplotlib (CC0): https://bids.github.io/colormap\n");
await writeFile(new URL("licences.txt", target), licences.join(`\n${"-".repeat(80)}\n\n`));

const files = ["index.html", "favicon.svg", "page.js", "page.css", "licences.txt"];
const sizes = await Promise.all(
  files.map(async (file) => gzipSync(await readFile(new URL(file, target))).length),
);
const total = sizes.reduce((a, b) => a + b);
console.log(`page: ${total} bytes compressed`);
if (total > MAX_BYTES) throw new Error(`the page is larger than ${MAX_BYTES} bytes compressed`);
