import Renderer, { type Components } from "react-markdown";

const COMPONENTS: Components = {
  // A picture would tell its server who reads this; its text is shown.
  img: ({ alt }) => <>{alt}</>,
  a: ({ href, children }) => (
    <a href={href} rel="noopener noreferrer nofollow ugc" target="_blank" title={href}>
      {children}
    </a>
  ),
  // Headings of a comment are none of the page's.
  h1: ({ children }) => <p className="heading">{children}</p>,
  h2: ({ children }) => <p className="heading">{children}</p>,
  h3: ({ children }) => <p className="heading">{children}</p>,
  h4: ({ children }) => <p className="heading">{children}</p>,
  h5: ({ children }) => <p className="heading">{children}</p>,
  h6: ({ children }) => <p className="heading">{children}</p>,
};

/** Markdown without HTML: the renderer makes elements, never markup from text. */
export default function Markdown({ text }: { text: string }) {
  return <Renderer components={COMPONENTS}>{text}</Renderer>;
}
