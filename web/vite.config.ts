import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const MEDIA: Record<string, string> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** Writes the table by which the server embeds what was built: `embedded.rs`. */
function embedded(): Plugin {
  return {
    name: "embedded",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const files = [...Object.keys(bundle), "icon.svg"].sort();
        const rows = files.map((file) => {
          const media = MEDIA[file.split(".").at(-1) ?? ""];
          if (media === undefined) this.error(`${file} has no media type in vite.config.ts`);
          return `    ("/${file}", "${media}", include_bytes!("${file}").as_slice()),\n`;
        });
        const source = `// Written by \`cargo xtask build-web\`.\n&[\n${rows.join("")}]\n`;
        this.emitFile({ type: "asset", fileName: "embedded.rs", source });
      },
    },
  };
}

const host = process.env.SELFHEAL_URL ?? "http://127.0.0.1:7700";

export default defineConfig({
  plugins: [react(), embedded()],
  build: {
    target: "es2023",
    outDir: process.env.WEB_OUT ?? "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Names by content: the server lets browsers keep these for good.
    rolldownOptions: {
      input: { index: "index.html", embed: "src/embed/element.ts" },
      output: {
        // Other applications name this one in their pages.
        entryFileNames: (chunk) =>
          chunk.name === "embed" ? "embed.js" : "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  server: {
    proxy: {
      "/api": { target: host, headers: { origin: host }, changeOrigin: true },
    },
  },
});
